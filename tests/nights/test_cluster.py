"""The scoring job on a real standalone cluster: a master and two workers, one killed midway.

Submitted as docs/scale.md says. Speculative execution is on, so that a slow task may run twice.
The executors' Python has the packages that docs/scale.md names, and no nightrank.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pyspark
import pytest
import toy_version
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pyspark.sql import SparkSession

from jobs import cli
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.spark.java import java_home
from jobs.spark.session import LOOPBACK, delta_jars
from jobs.steps import score
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import ITEMS, RECOMMENDATIONS_STAGED

pytestmark = pytest.mark.spark

NIGHT = "1998-04-23"
PROJECT = Path(__file__).parents[2]
SCALE = PROJECT / "docs" / "scale.md"
DRIVER = {
    "PYTHONPATH": str(PROJECT),
    "PYTHONSAFEPATH": "1",
    "SPARK_HOME": str(Path(pyspark.__file__).parent),
}
OUTSIDE = {"..", "__pycache__"}  # scripts of a package and modules without a folder


def environment(folder: Path) -> dict[str, str]:
    """Return what every process of the cluster is told: where Java is and Spark's own settings.

    These lie in `folder`. The project is on nobody's path.
    """
    settings = "spark.speculation true\nspark.speculation.interval 200ms\n"
    (folder / "spark-defaults.conf").write_text(settings, "utf-8")
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYSPARK"))},
        "JAVA_HOME": str(java_home()),
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_CONF_DIR": str(folder),
    }


def bare_python(folder: Path) -> Path:
    """Make a Python that sees the packages named in docs/scale.md and what these need."""
    named = re.search(r"pip install (.*)", SCALE.read_text("utf-8"))
    assert named is not None
    needed, todo = set(), {name.lower() for name in named[1].split()}
    packages = folder / "packages"
    packages.mkdir()
    while todo:
        name = todo.pop()
        needed.add(name)
        found = distribution(name)
        for line in found.requires or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                todo |= {canonicalize_name(wanted.name)} - needed
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] not in OUTSIDE}:
            link = packages / top
            if not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))).resolve())
    python = folder / "python"
    # -S: no site-packages, whose .pth file would bring nightrank in
    python.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="{packages}:$PYTHONPATH"\nexec {sys.executable} -S "$@"\n'
    )
    python.chmod(0o755)
    return python


@contextmanager
def daemon(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a class of Spark's in a process group of its own, which is killed in the end."""
    command = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [command, *arguments], stdout=stream, stderr=stream, start_new_session=True,
            env=environment(log.parent),
        )  # fmt: skip
        try:
            yield process
        finally:
            killed(process)


def killed(process: subprocess.Popen[bytes]) -> None:
    """Kill a daemon and what it has started, executors among it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Start a master and two workers of one core each; return the master's URL and the workers."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = str(free.getsockname()[1])
    deploy, url = "org.apache.spark.deploy", f"spark://{LOOPBACK}:{port}"
    places = ["--host", LOOPBACK, "--webui-port", "0"]
    with ExitStack() as stack:
        master = [f"{deploy}.master.Master", *places, "--port", port]
        stack.enter_context(daemon(folder / "master.log", *master))
        worker = [f"{deploy}.worker.Worker", *places, "--cores", "1", "--memory", "1g"]
        workers = [
            stack.enter_context(
                daemon(folder / f"{name}.log", *worker, "-d", str(folder / name), url)
            )
            for name in ("first", "second")
        ]
        for name in ("first", "second"):
            waited_for(folder / f"{name}.log", "Successfully registered with master")
        yield url, workers


def waited_for(log: Path, text: str) -> None:
    """Return as soon as `text` stands in `log`; after two minutes that is a failure."""
    until = time.monotonic() + 120
    while text not in log.read_text("utf-8"):
        assert time.monotonic() < until, log.read_text("utf-8")
        time.sleep(0.1)


def submission(url: str, python: Path) -> list[str]:
    """Return the command that submits the step to `url`, with the executors' `python`."""
    jars = [str(jar) for jar in delta_jars()]
    return [
        str(Path(sys.executable).parent / "spark-submit"), "--master", url,
        "--conf", f"spark.pyspark.python={python}",
        "--conf", f"spark.pyspark.driver.python={sys.executable}",
        "--jars", ",".join(jars), "--driver-class-path", os.pathsep.join(jars),
        cli.__file__, "score",
    ]  # fmt: skip


def staged(settings: Settings) -> list[dict[str, Any]]:
    rows = Warehouse(settings.warehouse).read(RECOMMENDATIONS_STAGED).to_pylist()
    return sorted(rows, key=lambda row: (row["user_id"], row["rank"]))


@pytest.mark.timeout(900)  # six cold Java machines
def test_a_night_ends_and_is_the_same_when_a_worker_is_killed_midway(
    movielens: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    settings = movielens.model_copy(update={"score_batch_users": 1})
    items = Warehouse(settings.warehouse).read(ITEMS).column("item_id").to_pylist()
    toy_version.champion(settings, sorted(items)[:250])
    score.run(Context.of(settings), NIGHT)
    undisturbed = staged(settings)
    version = Warehouse(settings.warehouse).version(RECOMMENDATIONS_STAGED)
    files = Path(settings.warehouse) / RECOMMENDATIONS_STAGED / f"run_date={NIGHT}"
    before = set(files.iterdir())
    python = bare_python(tmp_path)
    here = {"cwd": tmp_path, "env": environment(tmp_path)}
    lacks = subprocess.run([python, "-c", "import pandas, models"], **here, stderr=subprocess.PIPE)
    assert b"No module named 'models'" in lacks.stderr
    with cluster(tmp_path) as (url, workers), (tmp_path / "score.log").open("wb") as log:
        job = subprocess.Popen(
            [*submission(url, python), "--run-date", NIGHT, "--score-batch-users", "1"],
            stdout=log, stderr=log, cwd=tmp_path,
            env={**environment(tmp_path), "NIGHTRANK_WAREHOUSE": settings.warehouse, **DRIVER},
        )  # fmt: skip
        while set(files.iterdir()) == before and job.poll() is None:
            time.sleep(0.002)
        assert job.poll() is None, (tmp_path / "score.log").read_text("utf-8")
        killed(workers[0])
        assert job.wait() == 0, (tmp_path / "score.log").read_text("utf-8")
    assert Warehouse(settings.warehouse).version(RECOMMENDATIONS_STAGED) == version + 1
    assert staged(settings) == undisturbed
