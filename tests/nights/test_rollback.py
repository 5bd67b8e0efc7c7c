"""Rollback moves the pointer among published nights and touches no row."""

import datetime as dt
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_version
from staging import ODD, RIGHT, copied, ingest, ingested, publish_night, stage, visible

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import publish, rollback
from jobs.versions.registry import CHAMPION
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS, RUNS, USERS
from models.errors import InputError

NIGHTS = [dt.date(2026, 1, day) for day in (5, 6, 7)]


@pytest.fixture(scope="module")
def three_nights(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Three published nights; ada's score tells them apart."""
    folder = tmp_path_factory.mktemp("three-nights")
    made = ingested(folder)
    for number, night in enumerate(NIGHTS):
        rows = [("ada", 1, "b", 0.25 * number), (ODD, 1, "a", 0.75), (ODD, 2, "b", 0.5)]
        publish_night(made, rows, night, f"m{number}")
    return made


@pytest.fixture
def settings(three_nights: Settings, tmp_path: Path) -> Settings:
    """A copy for one test."""
    return copied(three_nights, tmp_path)


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


def test_with_from_it_goes_back_once(settings: Settings) -> None:
    """As after a rollback that was killed between its commit and its last word."""
    for _ in range(3):
        result = rollback.run(Context.of(settings), leaving="2026-01-07")
        assert result["visible_night"] == "2026-01-06"
    assert ada(settings) == 0.25
    rollback.run(Context.of(settings), to="2026-01-05", leaving="2026-01-06")
    rollback.run(Context.of(settings), to="2026-01-05", leaving="2026-01-06")
    assert ada(settings) == 0.0


def test_a_task_of_airflow_goes_back_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "mend")
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "rollback")
    for run, night in (("first", "2026-01-06"), ("second", "2026-01-05")):
        monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", run)
        for _ in range(3):
            assert rollback.run(Context.of(settings))["visible_night"] == night
    runs = Warehouse(settings.warehouse).read(RUNS)["run_id"].to_pylist()
    assert len(set(runs)) == len(runs)


@pytest.mark.chaos
def test_a_killed_rollback_is_done_once_by_its_next_try(settings: Settings) -> None:
    """The process is killed as soon as its commit can be seen, and started again."""
    warehouse = Warehouse(settings.warehouse)
    version = warehouse.version(RUNS)
    command = [sys.executable, "-m", "jobs.cli", "rollback", "--from", "2026-01-07"]
    command += ["--warehouse", settings.warehouse]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while warehouse.version(RUNS) == version and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "visible_night  2026-01-06" in done.stdout
    assert ada(settings) == 0.25


def test_damage_elsewhere_does_not_block_the_way_out(settings: Settings) -> None:
    """Neither a table without a log, nor rows of a night that can't be read."""
    for name in (USERS, ITEMS, INTERACTIONS):
        for log in (Path(settings.warehouse) / name / "_delta_log").iterdir():
            log.write_text("damaged")
    for night in NIGHTS:
        for file in (Path(settings.warehouse) / RECOMMENDATIONS).glob(f"run_date={night}/*"):
            file.write_bytes(b"damaged")
    assert rollback.run(Context.of(settings))["visible_night"] == "2026-01-06"


def test_the_model_of_the_night_comes_back_and_stays_until_someone_promotes(
    tmp_path: Path,
) -> None:
    settings = ingested(tmp_path)
    for number, night in enumerate(NIGHTS[:2]):
        toy_version.champion(settings, ["a", "b"], seed=number)
        publish_night(settings, RIGHT, night, f"toy-{number}")
    registry = Context.of(settings).registry
    kept = rollback.run(Context.of(settings), leaving="2026-01-06", keep_model=True)
    assert (kept["champion"], registry.version_of(CHAMPION)) == ("kept", "toy-1")
    rollback.run(Context.of(settings), to="2026-01-06", keep_model=True)
    for _ in range(2):
        rollback.run(Context.of(settings), leaving="2026-01-06")
        assert registry.version_of(CHAMPION) == "toy-0"
    registry.set_alias(CHAMPION, "toy-1")  # as `promote` does
    done = rollback.run(Context.of(settings), leaving="2026-01-06")
    assert (done["champion"], registry.version_of(CHAMPION)) == ("kept", "toy-1")


@pytest.mark.parametrize("damage", ["version", "store"])
def test_a_model_that_is_gone_does_not_keep_the_view(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    settings = ingested(tmp_path)
    for number, night in enumerate(NIGHTS[:2]):
        toy_version.champion(settings, ["a", "b"], seed=number)
        publish_night(settings, RIGHT, night, f"toy-{number}")
    models = Path(settings.warehouse) / "models"
    if damage == "version":
        (models / "toy-0" / "item_factors.npy").write_bytes(b"damaged")
    else:
        (models / "mlflow.db").write_bytes(b"damaged")
    result = rollback.run(Context.of(settings))
    assert result["visible_night"] == "2026-01-05"
    assert result["champion"] == "kept: toy-0 can't take its place"
    assert "the champion stays, since toy-0 can't take its place" in caplog.text


def test_a_night_published_twice_is_one_night(settings: Settings) -> None:
    stage(Warehouse(settings.warehouse), [*RIGHT[1:], ("ada", 1, "b", 0.125)], NIGHTS[2], "m9")
    result = publish.run(Context.of(settings), str(NIGHTS[2]))
    assert (result["visible_night"], ada(settings)) == ("2026-01-07", 0.125)
    assert rollback.run(Context.of(settings))["visible_night"] == "2026-01-06"
    back = rollback.run(Context.of(settings), to="2026-01-07")
    assert (back["model_version"], back["rows"], ada(settings)) == ("m9", 3, 0.125)


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
    newest = max(runs, key=lambda row: row["sequence"])
    assert (newest["step"], newest["run_date"], newest["model_version"]) == (
        "rollback",
        NIGHTS[0],
        "m0",
    )


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("2026-01-09", r"--to 2026-01-09: .*published: 2026-01-05, 2026-01-06, 2026-01-07"),
        ("2026-01-05x", "--to '2026-01-05x': expected a date"),
        ("yesterday", "--to 'yesterday': expected a date as YYYY-MM-DD"),
    ],
)
def test_a_night_that_is_not_there_is_refused(settings: Settings, to: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rollback.run(Context.of(settings), to)
    assert ada(settings) == 0.5


@pytest.mark.parametrize(
    ("leaving", "message"),
    [
        ("2026-01-06", "--from 2026-01-06: the visible night is 2026-01-07: name that one"),
        ("2026-02-06", "--from 2026-02-06: the visible night is 2026-01-07: name that one"),
        ("lately", "--from 'lately': expected a date as YYYY-MM-DD"),
    ],
)
def test_a_night_that_cannot_be_left_is_refused(
    settings: Settings, leaving: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        rollback.run(Context.of(settings), leaving=leaving)
    assert ada(settings) == 0.5


def test_nothing_published_yet(tmp_path: Path) -> None:
    settings = Settings(warehouse=str(tmp_path))
    with pytest.raises(InputError, match="no tables under"):
        rollback.run(Context.of(settings))
    ingest(Warehouse(settings.warehouse))
    with pytest.raises(InputError, match="no night is published yet: run `nightrank publish`"):
        rollback.run(Context.of(settings))
