"""Real Airflow runs the real steps: by `airflow dags test`, and by a served Airflow over REST."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy_version import champion

from jobs.settings.model import Settings
from jobs.warehouse.dataset import read_catalogue
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import ITEMS, RECOMMENDATIONS, RUNS

pytestmark = pytest.mark.airflow

PROJECT = Path(__file__).resolve().parents[2]
SMALL = {
    "epochs": 1,
    "epochs_between_validations": 1,
    "tuned_layers": 0,
    "factors": 16,
    "max_tokens": 16,
    "keep_layers": 1,
    "distil_texts": 100,
    "parity_tolerance": 1.0,
    "bootstrap_resamples": 100,
}
NIGHT = "1998-04-23"


def surroundings(home: Path, warehouse: Path, source: Path) -> dict[str, str]:
    """Return the environment of an Airflow in `home` whose steps write to `warehouse`."""
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_SPARK_DEFAULT": '{"conn_type": "spark", "host": "local[2]"}',
        "AIRFLOW_VAR_NIGHTRANK_SOURCE": str(source),
        "NIGHTRANK_WAREHOUSE": str(warehouse),
        "NIGHTRANK_REPORTS": str(home / "reports"),
    }


def dags_test(environment: dict[str, str], dag: str, conf: dict[str, Any]) -> None:
    """Run `airflow dags test` as people do; fail with the end of its log."""
    done = subprocess.run(
        ["bash", "scripts/airflow.sh", "dags", "test", dag, "--conf", json.dumps(conf)],
        cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def nights(warehouse: Path) -> set[str]:
    """Return the nights in `recommendations`."""
    table = Warehouse(str(warehouse)).read(RECOMMENDATIONS, columns=["run_date"])
    return set(map(str, table["run_date"].to_pylist()))


@pytest.mark.timeout(2400)
def test_both_dags_end_in_success_by_dags_test(
    airflow_home: Path, movielens_folder: Path, tiny_encoder: str, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse"
    environment = surroundings(airflow_home, warehouse, movielens_folder)
    dags_test(environment, "retrain", {**SMALL, "encoder": tiny_encoder})
    dags_test(environment, "nightly", {"run_date": NIGHT})
    assert nights(warehouse) == {NIGHT}
    steps = Warehouse(str(warehouse)).read(RUNS, columns=["step", "status"]).to_pylist()
    assert {row["status"] for row in steps} == {"succeeded"}
    assert {row["step"] for row in steps} >= {"ingest", "train", "promote", "score", "publish"}


@dataclass(frozen=True)
class Served:
    """A served Airflow, its database, and the token of its user."""

    address: str
    database: Path
    token: str = ""

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer of the REST API; HTTPError when it refuses."""
        request = urllib.request.Request(  # noqa: S310
            self.address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)


@pytest.fixture
def served(airflow_home: Path, movielens: Settings, movielens_folder: Path) -> Iterator[Served]:
    """Start Airflow as `make airflow` does; end it by Ctrl-C, after which nothing may live."""
    warehouse = Warehouse(movielens.warehouse)
    champion(movielens, list(read_catalogue(warehouse, warehouse.version(ITEMS)).item_ids))
    environment = surroundings(airflow_home, Path(movielens.warehouse), movielens_folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with subprocess.Popen(
        ["bash", "scripts/airflow.sh"],
        cwd=PROJECT,
        env={**environment, "AIRFLOW__API__PORT": port},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = iter(process.stdout.readline, "")
        shown = next(
            found for line in said if (found := re.search("user (.+), password (.+)", line))
        )
        parts = psutil.Process(process.pid).children(recursive=True)
        address = f"http://localhost:{port}"
        login = {"username": shown[1], "password": shown[2]}
        database = airflow_home / "airflow.db"
        answer = Served(address, database).call("POST", "/auth/token", login)
        yield Served(address, database, answer["access_token"])
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert [part for part in parts if part.is_running()] == []


def write_for(seconds: float, database: Path, began: threading.Event) -> None:
    """Hold the right to write to `database`, as a scheduler on a busy machine may."""
    with closing(sqlite3.connect(database, timeout=60)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        began.set()
        time.sleep(seconds)
        writer.rollback()


@pytest.mark.timeout(900)
def test_a_run_that_is_triggered_over_rest_publishes_its_night(
    movielens: Settings, served: Served
) -> None:
    while "nightly" not in [dag["dag_id"] for dag in served.call("GET", "/api/v2/dags")["dags"]]:
        time.sleep(1)
    served.call("PATCH", "/api/v2/dags/nightly", {"is_paused": False})
    runs = "/api/v2/dags/nightly/dagRuns"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        served.call("POST", runs, {"logical_date": None, "conf": {"run_date": "yesterday"}})
    began = threading.Event()
    writer = threading.Thread(target=write_for, args=(7, served.database, began))
    writer.start()
    assert began.wait(60)
    run = served.call("POST", runs, {"logical_date": None, "conf": {"run_date": NIGHT}})
    writer.join()
    while (state := served.call("GET", f"{runs}/{run['dag_run_id']}")["state"]) in (
        "queued",
        "running",
    ):
        time.sleep(1)
    assert state == "success"
    assert nights(Path(movielens.warehouse)) == {NIGHT}


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            ["bash", "scripts/airflow.sh"],
            cwd=PROJECT,
            env={**os.environ, "AIRFLOW__API__PORT": port, "AIRFLOW_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert "AIRFLOW__API__PORT=" in done.stderr
