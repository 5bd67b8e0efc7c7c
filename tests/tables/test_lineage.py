"""Lineage: one row a run, failed ones too, and no warehouse made for a failure."""

import datetime as dt
from pathlib import Path

import pytest

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import recorded
from jobs.warehouse.tables import RUNS
from models.errors import InputError


def test_a_run_is_one_row(warehouse: Warehouse) -> None:
    night = dt.date(2020, 2, 29)
    with recorded(warehouse, "score", run_date=night) as run:
        run.inputs["items"] = 3
        run.rows["recommendations"] = 10
        run.model_version = "v1"
    (row,) = warehouse.read(RUNS).to_pylist()
    assert (row["step"], row["status"], row["message"]) == ("score", "succeeded", None)
    assert (row["run_date"], row["model_version"]) == (night, "v1")
    assert (row["inputs"], row["rows"]) == ([("items", 3)], [("recommendations", 10)])
    assert row["seconds"] >= 0
    assert len(row["run_id"]) == 32
    assert row["finished_at"].utcoffset() == dt.timedelta(0)


def test_a_failure_is_recorded_and_raised(warehouse: Warehouse) -> None:
    with recorded(warehouse, "train"):
        pass
    with pytest.raises(ValueError, match="no loss"), recorded(warehouse, "train"):
        raise ValueError("no loss\nat all")
    rows = {row["status"]: row["message"] for row in warehouse.read(RUNS).to_pylist()}
    assert rows == {"succeeded": None, "failed": "ValueError: no loss at all"}


def test_a_message_has_no_credentials(warehouse: Warehouse) -> None:
    with recorded(warehouse, "train"):
        pass
    uri = "postgresql://me:hidden@db/mlflow"
    with pytest.raises(OSError, match="hidden"), recorded(warehouse, "train"):
        raise OSError(f"no answer from {uri}")
    messages = warehouse.read(RUNS)["message"].to_pylist()
    assert sorted(filter(None, messages)) == ["OSError: no answer from postgresql://***@db/mlflow"]


def test_a_failure_makes_no_warehouse(warehouse: Warehouse) -> None:
    with pytest.raises(InputError), recorded(warehouse, "ingest"):
        raise InputError("bad")
    assert not Path(warehouse.root).exists()


def test_the_cause_is_raised_where_the_failure_cannot_be_recorded(
    warehouse: Warehouse,
) -> None:
    with recorded(warehouse, "train"):
        pass
    locks = Path(warehouse.root) / ".locks"
    (locks / "runs.lock").unlink()
    locks.rmdir()
    locks.write_text("in the way")
    with pytest.raises(ValueError, match="the cause"), recorded(warehouse, "train"):
        raise ValueError("the cause")
