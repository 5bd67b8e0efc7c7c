"""The scoring job on a real standalone cluster: a master and two workers, one killed midway.

Speculative execution is on, so that a slow task may run twice.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyspark
import pytest
import toy_version
from pyspark.sql import SparkSession

from jobs import score
from jobs.java import java_home
from jobs.settings import Settings
from jobs.spark import LOOPBACK
from jobs.tables import ITEMS, RECOMMENDATIONS_STAGED
from jobs.warehouse import Warehouse

NIGHT = "2026-01-05"
PROJECT = Path(__file__).parents[1]


def environment(folder: Path) -> dict[str, str]:
    """Return what every process of the cluster is told: where Java, Python and the project are.

    Spark's own settings lie in `folder`.
    """
    settings = "spark.speculation true\nspark.speculation.interval 200ms\n"
    (folder / "spark-defaults.conf").write_text(settings, "utf-8")
    return {
        **os.environ,
        "JAVA_HOME": str(java_home()),
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(PROJECT),
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_CONF_DIR": str(folder),
    }


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
    score.run(settings, NIGHT)
    undisturbed = staged(settings)
    version = Warehouse(settings.warehouse).version(RECOMMENDATIONS_STAGED)
    files = Path(settings.warehouse) / RECOMMENDATIONS_STAGED / f"run_date={NIGHT}"
    before = set(files.iterdir())
    with cluster(tmp_path) as (url, workers):
        command = [sys.executable, "-m", "jobs.cli", "score", "--run-date", NIGHT]
        flags = ["--warehouse", settings.warehouse, "--score-batch-users", "1"]
        with (tmp_path / "score.log").open("wb") as log:
            job = subprocess.Popen(
                [*command, *flags, "--spark-master", url], stdout=log, stderr=log,
                env=environment(tmp_path),
            )  # fmt: skip
            while set(files.iterdir()) == before and job.poll() is None:
                time.sleep(0.002)
            assert job.poll() is None, (tmp_path / "score.log").read_text("utf-8")
            killed(workers[0])
            assert job.wait() == 0, (tmp_path / "score.log").read_text("utf-8")
    assert Warehouse(settings.warehouse).version(RECOMMENDATIONS_STAGED) == version + 1
    assert staged(settings) == undisturbed
