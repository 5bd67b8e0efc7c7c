"""Rollback moves the pointer among published nights and touches no row."""

import datetime as dt
from pathlib import Path

import pytest
from staging import ODD, RIGHT, ingest, stage, visible

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import publish, rollback
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import RECOMMENDATIONS, RUNS
from models.errors import InputError

NIGHTS = [dt.date(2026, 1, day) for day in (5, 6, 7)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Three published nights; ada's score tells them apart."""
    made = Settings(warehouse=str(tmp_path / "warehouse"))
    ingest(Warehouse(made.warehouse))
    for number, night in enumerate(NIGHTS):
        rows = [("ada", 1, "b", 0.25 * number), (ODD, 1, "a", 0.75), (ODD, 2, "b", 0.5)]
        stage(Warehouse(made.warehouse), rows, night, f"m{number}")
        publish.run(Context.of(made), str(night))
    return made


def ada(settings: Settings) -> object:
    return visible(settings)[0][3]


def test_the_default_is_the_night_before_the_visible_one(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    version = warehouse.version(RECOMMENDATIONS)
    result = rollback.run(Context.of(settings))
    assert (result["visible_night"], result["before"]) == ("2026-01-06", "2026-01-07")
    assert ada(settings) == 0.25
    assert rollback.run(Context.of(settings))["visible_night"] == "2026-01-05"
    assert ada(settings) == 0.0
    assert warehouse.version(RECOMMENDATIONS) == version
    with pytest.raises(InputError, match="no night before 2026-01-05 is published"):
        rollback.run(Context.of(settings))
    assert ada(settings) == 0.0


def test_a_named_night_and_forward_again(settings: Settings) -> None:
    assert rollback.run(Context.of(settings), to="2026-01-05")["rows"] == len(RIGHT)
    assert ada(settings) == 0.0
    rollback.run(Context.of(settings), to="2026-01-07")
    assert ada(settings) == 0.5
    rollback.run(Context.of(settings), to="2026-01-05")
    publish.run(Context.of(settings), "2026-01-06")
    assert ada(settings) == 0.25


def test_the_pointer_is_a_run_with_night_and_version(settings: Settings) -> None:
    rollback.run(Context.of(settings), to="2026-01-05")
    runs = Warehouse(settings.warehouse).read(RUNS).to_pylist()
    newest = max(runs, key=lambda row: row["finished_at"])
    assert (newest["step"], newest["run_date"], newest["model_version"]) == (
        "rollback",
        NIGHTS[0],
        "m0",
    )


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("2026-01-09", r"--to 2026-01-09: .*published: 2026-01-05, 2026-01-06, 2026-01-07"),
        ("yesterday", "--to 'yesterday': expected a date as YYYY-MM-DD"),
    ],
)
def test_a_night_that_is_not_there_is_refused(settings: Settings, to: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rollback.run(Context.of(settings), to)
    assert ada(settings) == 0.5


def test_nothing_published_yet(tmp_path: Path) -> None:
    settings = Settings(warehouse=str(tmp_path))
    with pytest.raises(InputError, match="no tables under"):
        rollback.run(Context.of(settings))
    ingest(Warehouse(settings.warehouse))
    with pytest.raises(InputError, match="no night is published yet: run `nightrank publish`"):
        rollback.run(Context.of(settings))
