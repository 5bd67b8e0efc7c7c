"""An Airflow whose database and pools stand, prepared once for all tests that need one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def prepared_airflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an AIRFLOW_HOME as scripts/airflow.sh makes it; take `airflow_home` to write to it."""
    folder = tmp_path_factory.mktemp("airflow")
    subprocess.run(
        ["bash", "scripts/airflow.sh", "version"],
        env={**os.environ, "AIRFLOW_HOME": str(folder)}, cwd=PROJECT, check=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def airflow_home(prepared_airflow: Path, tmp_path: Path) -> Path:
    """Return a test's own copy of a prepared AIRFLOW_HOME, whose settings name its folders."""
    home = Path(shutil.copytree(prepared_airflow, tmp_path / "airflow"))
    settings = home / "airflow.cfg"
    text = settings.read_text("utf-8").replace(str(prepared_airflow), str(home))
    settings.write_text(text, "utf-8")
    return home
