"""Publish on real Delta tables: the audit, the one commit, the pointer, and readers meanwhile."""

import datetime as dt
import fcntl
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from staging import NEW_YEAR, NIGHT, ODD, RIGHT, Row, add, ingest, stage, visible

from jobs.context import Context
from jobs.nights.staged import night_or_default, parse_night
from jobs.settings.model import Settings
from jobs.steps import maintain, publish, sql
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import (
    INTERACTIONS,
    ITEMS,
    RECOMMENDATIONS,
    RECOMMENDATIONS_STAGED,
    RUNS,
    TABLES,
    USERS,
)
from models.errors import InputError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(warehouse=str(tmp_path / "warehouse"))
    ingest(Warehouse(made.warehouse))
    return made


def test_a_right_night_becomes_visible_once(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    stage(warehouse, RIGHT)
    assert visible(settings) == []
    for _ in range(2):
        result = publish.run(Context.of(settings), "2026-01-05")
        assert (result["users"], result["rows"], result["visible_night"]) == (2, 3, "2026-01-05")
        assert visible(settings) == [list(row) for row in RIGHT]
    assert sql.run(Context.of(settings), "SELECT count(*) FROM recommendations")["rows"] == [[3]]
    runs = warehouse.read(RUNS).to_pylist()
    assert [(r["step"], r["run_date"], r["status"], r["model_version"]) for r in runs] == [
        ("publish", NIGHT, "succeeded", "m1")
    ] * 2
    assert set(dict(runs[0]["inputs"])) == {ITEMS, USERS, INTERACTIONS, RECOMMENDATIONS_STAGED}


def test_a_later_night_takes_over_and_the_earlier_one_stays(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    stage(warehouse, RIGHT)
    publish.run(Context.of(settings), "2026-01-05")
    later = [("ada", 1, "b", 0.25), (ODD, 1, "b", 0.75), (ODD, 2, "a", 0.5)]
    stage(warehouse, later, dt.date(2026, 1, 6), "m2")
    assert visible(settings) == [list(row) for row in RIGHT]
    publish.run(Context.of(settings), "2026-01-06")
    assert visible(settings) == [list(row) for row in later]
    assert sql.run(Context.of(settings), "SELECT count(*) FROM recommendations")["rows"] == [[6]]


def test_a_night_of_tables_that_were_made_anew_is_refused(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    stage(warehouse, RIGHT)
    for name in (ITEMS, USERS, INTERACTIONS):
        shutil.rmtree(warehouse.path(name))
    ingest(warehouse)  # the same rows and the same versions, and yet other tables
    with pytest.raises(InputError, match="another table `interactions`, which was made anew since"):
        publish.run(Context.of(settings), str(NIGHT))
    assert visible(settings) == []


def test_nothing_comes_between_the_copy_and_the_row_of_the_run(settings: Settings) -> None:
    """Held up before that row, a publish holds `maintain` up too."""
    warehouse = Warehouse(settings.warehouse)
    for day in (5, 6):
        stage(warehouse, RIGHT, dt.date(2026, 1, day))
        publish.run(Context.of(settings), f"2026-01-0{day}")
    stage(warehouse, RIGHT, dt.date(2026, 1, 4))
    version = warehouse.version(RECOMMENDATIONS)
    publishing = threading.Thread(target=publish.run, args=(Context.of(settings), "2026-01-04"))
    strict = settings.model_copy(update={"keep_nights": 1})
    maintaining = threading.Thread(target=maintain.run, args=(Context.of(strict),))
    with warehouse.lock(RUNS):
        publishing.start()
        while warehouse.version(RECOMMENDATIONS) == version:
            time.sleep(0.01)
        maintaining.start()
        time.sleep(0.3)
        lock = Path(warehouse.root, ".locks", "recommendations.lock")
        with lock.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert warehouse.version(RECOMMENDATIONS) == version + 1
    publishing.join()
    maintaining.join()
    assert warehouse.nights(RECOMMENDATIONS) == {dt.date(2026, 1, 6)}
    assert visible(settings) == [list(row) for row in RIGHT]


def test_a_night_without_rows_is_no_night(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    stage(warehouse, RIGHT)
    publish.run(Context.of(settings), "2026-01-05")
    stage(warehouse, [])
    with pytest.raises(InputError, match="night 2026-01-05 isn't staged: run `nightrank score"):
        publish.run(Context.of(settings), "2026-01-05")
    assert visible(settings) == [list(row) for row in RIGHT]


def changed(place: int, *row: object) -> Callable[[], list[Row]]:
    return lambda: [*RIGHT[:place], row, *RIGHT[place + 1 :]]  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (changed(0, "ada", 1, "a", 0.5), "1 items that the user has had (user 'ada, item a')"),
        (changed(0, "ada", 1, "c", 0.5), "1 items that aren't available (user 'ada, item c')"),
        (changed(0, "ada", 1, "z", 0.5), "1 items that aren't available (user 'ada, item z')"),
        (changed(0, "ada", 2, "b", 0.5), "1 users with a hole or a repeat in their ranks"),
        (changed(2, ODD, 2, "a", 0.5), "1 items twice in a user's list"),
        (changed(2, ODD, 2, "b", 0.875), "1 scores that rise with the rank"),
        (changed(0, "bob", 1, "b", 0.5), "1 users that nobody knows (user 'bob')"),
        (lambda: RIGHT[1:], "1 users with fewer or more rows than due (user 'ada')"),
        (lambda: RIGHT[:2], "1 users with fewer or more rows than due"),
        (changed(0, "ada", 1, "b", float("-inf")), "a null or a score that isn't finite"),
    ],
)
def test_a_wrong_night_fails_its_audit(
    settings: Settings, rows: Callable[[], list[Row]], expected: str
) -> None:
    warehouse = Warehouse(settings.warehouse)
    stage(warehouse, RIGHT)
    publish.run(Context.of(settings), "2026-01-05")
    stage(warehouse, rows())
    with pytest.raises(InputError) as refused:
        publish.run(Context.of(settings), "2026-01-05")
    assert "failed its audit" in str(refused.value)
    assert expected in str(refused.value)
    assert visible(settings) == [list(row) for row in RIGHT]
    assert warehouse.read(RECOMMENDATIONS_STAGED).num_rows == len(rows())
    statuses = [row["status"] for row in warehouse.read(RUNS).to_pylist()]
    assert sorted(statuses) == ["failed", "succeeded"]


def test_two_model_versions_in_one_night_are_refused(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    stage(warehouse, RIGHT)
    mixed = warehouse.read(RECOMMENDATIONS_STAGED).slice(0, 1).to_pylist()
    rest = warehouse.read(RECOMMENDATIONS_STAGED).slice(1).to_pylist()
    rows = [{**mixed[0], "model_version": "m0"}, *rest]
    table = pa.Table.from_pylist(rows, schema=TABLES[RECOMMENDATIONS_STAGED].arrow_schema)
    write_deltalake(
        warehouse.path(RECOMMENDATIONS_STAGED), table, mode="overwrite", predicate="rank >= 0"
    )
    with pytest.raises(InputError, match="1 rows of another model version"):
        publish.run(Context.of(settings), "2026-01-05")


def test_the_audit_reads_the_versions_that_the_night_was_made_of(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    stage(warehouse, RIGHT)
    late: dict[str, Any] = {"user_id": ["eve", "ada"], "item_id": ["a", "b"], "value": [5.0, 5.0]}
    add(warehouse, INTERACTIONS, {**late, "ts": [NEW_YEAR] * 2, "ingest_id": ["2"] * 2})
    assert publish.run(Context.of(settings), "2026-01-05")["users"] == 2


def test_the_audit_knows_nothing_after_the_night(settings: Settings) -> None:
    """Bob, item b and what ada did come later: so ada has nothing left, and ODD has a alone."""
    warehouse = Warehouse(settings.warehouse)
    later: dict[str, Any] = {"user_id": ["bob", "ada"], "item_id": ["b", "b"], "value": [5.0, 5.0]}
    tenth = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
    add(warehouse, INTERACTIONS, {**later, "ts": [tenth] * 2, "ingest_id": ["2"] * 2})
    add(warehouse, USERS, {"user_id": ["bob"], "text": ["nurse"], "attributes": [[]]})
    stage(warehouse, RIGHT)
    with pytest.raises(InputError, match="2 items that aren't available"):
        publish.run(Context.of(settings), "2026-01-05")
    stage(warehouse, [(ODD, 1, "a", 0.75), ("bob", 1, "a", 0.5)])
    with pytest.raises(InputError, match=r"1 users that nobody knows \(user 'bob'\)"):
        publish.run(Context.of(settings), "2026-01-05")
    stage(warehouse, [(ODD, 1, "a", 0.75)])
    assert publish.run(Context.of(settings), "2026-01-05")["users"] == 1


@pytest.mark.parametrize(
    ("policy", "lists_a"),
    [
        ({}, False),
        ({"repeat_days": 0.0}, True),
        ({"repeat_days": 3.0}, True),  # ada had it on New Year's Day, at noon
        ({"repeat_days": 4.0}, False),
        ({"repeat_days": 3.0, "asked": "last_visit"}, False),
        ({"repeat_days": 0.0, "asked": "last_visit"}, True),
        ({"had_from": 5.0}, False),  # what ada had has the value 5
        ({"had_from": 5.5}, True),
        ({"had_from": 5.0, "repeat_days": 3.0}, True),
        ({"had_from": 5.5, "repeat_days": 4.0, "asked": "last_visit"}, True),
    ],
)
def test_the_audit_follows_the_policy_of_repeats(
    settings: Settings, policy: dict[str, Any], lists_a: bool
) -> None:
    repeated = [("ada", 1, "b", 0.5), ("ada", 2, "a", 0.25), *RIGHT[1:]]
    right, wrong = (repeated, RIGHT) if lists_a else (RIGHT, repeated)
    stage(Warehouse(settings.warehouse), wrong, **policy)
    with pytest.raises(InputError, match=r"has had|users with fewer or more rows than due"):
        publish.run(Context.of(settings), str(NIGHT))
    stage(Warehouse(settings.warehouse), right, **policy)
    assert publish.run(Context.of(settings), str(NIGHT))["rows"] == len(right)


def test_a_night_that_is_not_staged_names_the_command(settings: Settings) -> None:
    with pytest.raises(InputError, match="night 2026-01-02 isn't staged: run `nightrank score --"):
        publish.run(Context.of(settings))
    stage(Warehouse(settings.warehouse), RIGHT)
    with pytest.raises(InputError, match="night 2026-01-07 isn't staged"):
        publish.run(Context.of(settings), "2026-01-07")


@pytest.mark.parametrize("text", ["", "2026-1-5", "20260105", "2026-02-30", "2026-W01-1", "today"])
def test_a_date_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"--run-date .*expected a date as YYYY-MM-DD"):
        parse_night(text, "--run-date")


def test_the_default_night_is_the_day_after_the_newest_interaction(settings: Settings) -> None:
    assert night_or_default(Warehouse(settings.warehouse), None) == dt.date(2026, 1, 2)


def test_no_interactions_no_default_night(tmp_path: Path) -> None:
    warehouse = Warehouse(str(tmp_path))
    with pytest.raises(InputError, match="`interactions` not found"):
        night_or_default(warehouse, None)
    warehouse.create(INTERACTIONS)
    with pytest.raises(InputError, match="`interactions` is empty"):
        night_or_default(warehouse, None)
