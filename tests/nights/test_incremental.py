"""A night that keeps lists equals one that scores everybody, whatever changed in between."""

import datetime as dt
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import toy_version
from deltalake import CommitProperties, write_deltalake
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from staging import vacuum

from jobs.context import Context
from jobs.nights.staged import staged_nights
from jobs.settings.model import Settings
from jobs.steps import maintain, score
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.merge import merge
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, TABLES, USERS

FIRST, SECOND = "2026-01-05", "2026-01-06"
EVENING = dt.datetime(2026, 1, 5, 20, tzinfo=dt.UTC)
LONG_AGO = dt.datetime(1998, 1, 1, tzinfo=dt.UTC)
KNOWN, UNKNOWN = "50", "99"  # of the toy version; many have seen the first
AWAY = (
    "7",
    "100",
    "98",
    "299",
)  # unavailable at first; of the toy version are the second and the last
NEW = {"text": "of the writer", "attributes": [("genres", "Drama")], "features": None}

Row = dict[str, Any]
Rows = list[Row]


@pytest.fixture(scope="module")
def scored(
    ingested: Path, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """The slice of MovieLens with a toy champion and a first night; copy before writing.

    Some items are unavailable, and of one user's list only three items are left.
    """
    root = tmp_path_factory.mktemp("incremental") / "warehouse"
    shutil.copytree(ingested, root)
    settings = Settings(warehouse=str(root))
    found = items(settings)
    change(spark, settings, ITEMS, [{**found[item], "available": False} for item in AWAY])
    seen = sorted(found.keys() - set(AWAY))[3:]
    change(spark, settings, INTERACTIONS, [event("glutton", item, ts=LONG_AGO) for item in seen])
    toy_version.champion(settings, sorted(found)[:250])
    assert score.run(Context.of(settings), FIRST)["users_scored"] == 61
    return settings


@pytest.fixture
def copy(scored: Settings, tmp_path: Path) -> Settings:
    """A test's own copy of `scored`."""
    shutil.copytree(scored.warehouse, tmp_path / "w")
    return scored.model_copy(update={"warehouse": str(tmp_path / "w")})


def items(settings: Settings) -> dict[str, Row]:
    """Return the rows of `items` by item_id."""
    rows = Warehouse(settings.warehouse).read(ITEMS).to_pylist()
    return {row["item_id"]: row for row in rows}


def change(spark: SparkSession, settings: Settings, name: str, rows: Rows) -> None:
    """Merge `rows` into a table as ingest does."""
    table = pa.Table.from_pylist(rows, schema=TABLES[name].arrow_schema)
    merge(spark, Warehouse(settings.warehouse), name, spark.createDataFrame(table))


def event(user: str, item: str, value: float = 5.0, ts: dt.datetime = EVENING) -> Row:
    return {"user_id": user, "item_id": item, "value": value, "ts": ts, "ingest_id": "later"}


def night(settings: Settings, run_date: str = SECOND) -> list[tuple[Any, ...]]:
    rows = Warehouse(settings.warehouse).read(RECOMMENDATIONS_STAGED).to_pylist()
    wanted = (row for row in rows if row["run_date"] == dt.date.fromisoformat(run_date))
    return sorted(tuple(row.values()) for row in wanted)


def in_both_ways(settings: Settings, run_date: str = SECOND) -> dict[str, Any]:
    """Score a night keeping lists, then in full; assert that both are the same rows."""
    result = score.run(Context.of(settings), run_date)
    kept = night(settings, run_date)
    full = score.run(Context.of(settings.model_copy(update={"incremental": False})), run_date)
    assert full["users_scored"] == full["users"]
    assert kept == night(settings, run_date)
    return result


events = st.builds(
    event,
    st.sampled_from([*(str(user) for user in range(1, 61)), "someone new"]),
    st.sampled_from([str(item) for item in range(1, 301)]),
    st.sampled_from([1.0, 5.0]),
    st.sampled_from([EVENING, LONG_AGO]),
)
people = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["1", "60", "somebody"]),
        "text": st.sampled_from(["doctor", "student of drama"]),
        "attributes": st.just([]),
    }
)


added = st.fixed_dictionaries(
    {
        "item_id": st.sampled_from(["0", "new", "0050", "zz"]),
        "title": st.sampled_from(["", "Doctor", "Drama of the student"]),
        "text": st.sampled_from(["", "comedy of the writer"]),
        "attributes": st.sampled_from([[], [("genres", "Comedy, Drama")]]),
        "available": st.sampled_from([True, True, False]),
        "features": st.none(),
    }
)
changed = st.tuples(
    st.sampled_from([*AWAY, KNOWN, UNKNOWN, *(str(item) for item in range(1, 301, 9))]),
    st.dictionaries(
        st.sampled_from(["title", "text"]), st.sampled_from(["action", "student of drama"])
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "available": st.booleans(),
            "attributes": st.just([("genres", "Comedy")]),
            "features": st.just([1.0, 2.0]),
        },
    ),
)


@pytest.mark.timeout(900)
@hypothesis_settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    happened=st.lists(
        events, max_size=4, unique_by=lambda e: (e["user_id"], e["item_id"], e["ts"])
    ),
    profiles=st.lists(people, max_size=2, unique_by=lambda row: row["user_id"]),
    new=st.lists(added, max_size=3, unique_by=lambda row: row["item_id"]),
    edits=st.lists(changed, max_size=5, unique_by=lambda edit: edit[0]),
    removed=st.sets(st.sampled_from([KNOWN, UNKNOWN, "7", "200"]), max_size=1),
)
def test_keeping_lists_changes_nothing(
    scored: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory,
    happened: Rows, profiles: Rows, new: Rows, edits: list[tuple[str, Row, Row]], removed: set[str],
) -> None:  # fmt: skip
    root = tmp_path_factory.mktemp("night") / "warehouse"
    shutil.copytree(scored.warehouse, root)
    settings = scored.model_copy(update={"warehouse": str(root)})
    before = items(settings)
    edited = [{**before[item], **words, **facts} for item, words, facts in edits]
    for name, rows in ((INTERACTIONS, happened), (USERS, profiles), (ITEMS, [*new, *edited])):
        if rows:
            change(spark, settings, name, rows)
    for item in removed:
        spark.sql(f"DELETE FROM delta.`{root}/{ITEMS}` WHERE item_id = '{item}'")
    result = in_both_ways(settings)
    if not (new or edits or removed):
        assert result["users_scored"] <= len({row["user_id"] for row in [*happened, *profiles]})


def test_the_unsettled_are_scored_again_until_they_have_settled(
    copy: Settings, spark: SparkSession
) -> None:
    """Who was active on a day is asked after longer and longer absences for a week."""
    change(spark, copy, INTERACTIONS, [event("7", "8")])
    assert in_both_ways(copy)["users_scored"] == 1
    assert in_both_ways(copy, "2026-01-08")["users_scored"] == 1
    assert in_both_ways(copy, "2026-01-20")["users_scored"] == 1
    assert score.run(Context.of(copy), "2026-01-21")["users_scored"] == 0


def test_a_new_item_is_held_against_the_k_th_score_of_each_user(
    copy: Settings, spark: SparkSession
) -> None:
    """Scored is who gets it, and who has fewer than k items."""
    row = {"item_id": "new", "title": "New", "available": True, **NEW}
    change(spark, copy, ITEMS, [row])
    result = in_both_ways(copy)
    getting = {entry[1] for entry in night(copy) if entry[3] == "new"} | {"glutton"}
    assert result["users_scored"] == len(getting) < 30
    assert score.run(Context.of(copy), "2026-01-07")["users_scored"] == 0


def test_an_item_that_leaves_costs_those_who_had_it(copy: Settings, spark: SparkSession) -> None:
    counts = Counter(entry[3] for entry in night(copy, FIRST))
    item, had = next((item, count) for item, count in counts.most_common() if count < 30)
    change(spark, copy, ITEMS, [{**items(copy)[item], "available": False}])
    assert in_both_ways(copy)["users_scored"] == had > 1


def test_another_title_costs_those_who_may_read_it_and_another_text_nobody(
    copy: Settings, spark: SparkSession
) -> None:
    row = items(copy)[KNOWN]
    change(spark, copy, ITEMS, [{**row, "text": "drama", "features": [1.0]}])
    assert in_both_ways(copy)["users_scored"] == 0
    change(spark, copy, ITEMS, [{**row, "title": "Renamed"}])
    events = Warehouse(copy.warehouse).read(INTERACTIONS).to_pylist()
    seen = {row["user_id"] for row in events if row["item_id"] == KNOWN}
    assert in_both_ways(copy, "2026-01-07")["users_scored"] == len(seen) < 61


@pytest.mark.parametrize("what", ["items", "k", "asked", "model", "past", "feed"])
def test_everybody_is_scored_where_lists_can_change_for_all(
    copy: Settings, spark: SparkSession, what: str
) -> None:
    settings, warehouse, date = copy, Warehouse(copy.warehouse), SECOND
    if what == "items":  # 30 of 300, and lists of 10: one in each
        some = list(items(settings).values())[:60]
        there = [row for row in some if row["available"]][:30]
        change(spark, settings, ITEMS, [{**row, "available": False} for row in there])
    elif what == "k":
        settings = settings.model_copy(update={"k": 3})
    elif what == "asked":
        settings = settings.model_copy(update={"asked": "last_visit"})
    elif what == "model":
        known = sorted(items(settings))[:250]
        toy_version.champion(settings, known, seed=1)
    elif what == "past":
        date = "2026-01-04"
    else:
        change(spark, settings, INTERACTIONS, [event("7", "8")])
        shutil.rmtree(Path(settings.warehouse) / INTERACTIONS / "_change_data", ignore_errors=True)
        spark.sql(
            f"ALTER TABLE delta.`{warehouse.path(INTERACTIONS)}` "
            "SET TBLPROPERTIES (delta.enableChangeDataFeed = false)"
        )
        change(spark, settings, INTERACTIONS, [event("7", "9")])
    assert score.run(Context.of(settings), date)["users_scored"] == 61


def test_a_night_that_an_older_release_staged_is_not_copied(copy: Settings) -> None:
    """It may hold what came after its date."""
    warehouse = Warehouse(copy.warehouse)
    [night] = staged_nights(warehouse)
    told = json.loads(night.metadata())
    del told["as_of_date"]
    write_deltalake(
        warehouse.path(RECOMMENDATIONS_STAGED),
        warehouse.read(RECOMMENDATIONS_STAGED).slice(0, 0),
        mode="append",
        commit_properties=CommitProperties(custom_metadata={"userMetadata": json.dumps(told)}),
    )
    assert score.run(Context.of(copy), SECOND)["users_scored"] == 61


def test_lists_are_kept_over_maintenance(copy: Settings, spark: SparkSession) -> None:
    """Joined files tell no change; what was a change before still is one."""
    change(spark, copy, INTERACTIONS, [event("7", "8")])
    change(spark, copy, ITEMS, [{**items(copy)[KNOWN], "title": "Doctor"}])
    joined = maintain.run(Context.of(copy))["tables"]
    assert joined[INTERACTIONS]["joined"] > joined[INTERACTIONS]["into"] > 0
    events = Warehouse(copy.warehouse).read(INTERACTIONS).to_pylist()
    seen = {row["user_id"] for row in events if row["item_id"] == KNOWN}
    assert in_both_ways(copy)["users_scored"] == len(seen | {"7"}) < 61


@pytest.mark.parametrize("name", [INTERACTIONS, ITEMS])
def test_everybody_is_scored_where_a_vacuum_took_what_was(
    copy: Settings, spark: SparkSession, name: str
) -> None:
    """A file of its change feed, or the items as they were."""
    warehouse, row = Warehouse(copy.warehouse), items(copy)[KNOWN]
    if name == INTERACTIONS:
        change(spark, copy, INTERACTIONS, [event("7", "8")])
        change(spark, copy, INTERACTIONS, [event("7", "8", 1.0)])
        assert vacuum(warehouse, name)
    else:  # joining two files tells no change: the feed begins after it, and is whole
        change(spark, copy, ITEMS, [{"item_id": "new", "title": "New", "available": True, **NEW}])
        score.run(Context.of(copy), FIRST)
        maintain.run(Context.of(copy))
        assert vacuum(warehouse, name)
        change(spark, copy, ITEMS, [{**row, "title": "Renamed"}])
    assert score.run(Context.of(copy), SECOND)["users_scored"] == 61


def test_an_item_that_may_be_listed_again_comes_back(spark: SparkSession, copy: Settings) -> None:
    """A year later; what user 1 took ten days before the first night is free on the second."""
    first, second = "2027-01-05", "2027-01-06"
    ours = copy.model_copy(update={"repeats": "after_days", "repeat_after_days": 300})
    taken = dt.datetime(2026, 3, 11, 12, tzinfo=dt.UTC)  # 300 days before the second night
    best = next(row[3] for row in night(copy, FIRST) if row[1:3] == ("1", 1))
    change(spark, ours, INTERACTIONS, [event("1", best, ts=taken)])
    free = ours.model_copy(update={"allow_future_night": True})
    score.run(Context.of(free), first)
    assert best not in {row[3] for row in night(ours, first) if row[1] == "1"}
    result = in_both_ways(free, second)
    assert 0 < result["users_scored"] < result["users"]
    listed = {row[3] for row in night(ours, second) if row[1] == "1"}
    assert best in listed
    always = free.model_copy(update={"repeats": "always"})
    assert score.run(Context.of(always), second)["users_scored"] == result["users"]
