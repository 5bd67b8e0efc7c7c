"""The ways into the code: modules that are run, Spark's application, and the executors' zip."""

import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import jobs
import models
from jobs import cli
from jobs.spark.shipping import write_code

PROJECT = Path(__file__).parents[2]
# a module that is run -> arguments with which it ends soon, None where it is only imported
ENTRY_POINTS: dict[str, list[str] | None] = {
    "jobs.cli": ["--help"],
    "jobs.bench.generated": ["--help"],
    "jobs.bench.methods": ["--help"],
    "jobs.bench.speed": ["--help"],
    "jobs.bench.training": ["--help"],
    "jobs.settings.form": None,
    "jobs.spark.class_archive": None,
    "jobs.spark.java": [],
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("code") / "code.zip")


def python(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python away from the project, with `path` before all that is installed."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=path.parent, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip


def test_the_executors_zip_holds_every_module(code: Path) -> None:
    packages = {f"{package.__name__}/__init__.py" for package in (jobs, models)}
    for package in (jobs, models):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            place = found.name.replace(".", "/")
            packages.add(f"{place}/__init__.py" if found.ispkg else f"{place}.py")
    assert set(ZipFile(code).namelist()) == packages
    assert {"jobs/nights/files.py", "models/serving/__init__.py"} <= packages


def test_what_a_task_runs_is_imported_from_the_zip(code: Path) -> None:
    ended = python(code, "-c", "import jobs.nights.files as files; print(files.__file__)")
    assert ended.stdout.strip() == f"{code}/jobs/nights/files.py", ended.stderr


def test_the_command_line_as_a_sparks_application_runs_from_a_zip(
    code: Path, tmp_path: Path
) -> None:
    application = tmp_path / "cli.py"
    application.write_text(Path(cli.__file__).read_text("utf-8"), "utf-8")
    ended = python(code, str(application), "score", "--warehouse", str(tmp_path / "nowhere"))
    assert ended.returncode == 2, ended.stderr
    assert "table `interactions` not found" in ended.stderr


def test_every_module_that_is_run_is_known() -> None:
    found = {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for folder in ("jobs", "models")
        for path in (PROJECT / folder).rglob("*.py")
        if '__name__ == "__main__"' in path.read_text("utf-8")
    }
    assert found == set(ENTRY_POINTS)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(module, marks=[pytest.mark.training] if ".bench." in module else [])
        for module in ENTRY_POINTS
    ],
)
def test_modules_are_run_by_their_names(module: str) -> None:
    arguments = ENTRY_POINTS[module]
    command = ["-c", f"import {module}"] if arguments is None else ["-m", module, *arguments]
    ended = python(PROJECT, *command)
    assert ended.returncode == 0, ended.stderr


def test_the_form_is_written_beside_the_code(code: Path, tmp_path: Path) -> None:
    ZipFile(code).extractall(tmp_path / "project")
    (tmp_path / "project" / "dags").mkdir()
    ended = python(tmp_path / "project", "-m", "jobs.settings.form")
    assert ended.returncode == 0, ended.stderr
    written = (tmp_path / "project" / "dags" / "form.json").read_text("utf-8")
    assert written == (PROJECT / "dags" / "form.json").read_text("utf-8")
