"""A night that keeps lists equals one that scores everybody, whatever changed in between."""

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import toy_version
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs import score
from jobs.delta_merge import merge
from jobs.settings import Settings
from jobs.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, TABLES, USERS
from jobs.warehouse import Warehouse

FIRST, SECOND = "2026-01-05", "2026-01-06"
EVENING = dt.datetime(2026, 1, 5, 20, tzinfo=dt.UTC)

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def scored(
    ingested: Path, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """The slice of MovieLens with a toy champion and a first night; copy before writing."""
    root = tmp_path_factory.mktemp("incremental") / "warehouse"
    shutil.copytree(ingested, root)
    settings = Settings(warehouse=str(root))
    items = Warehouse(settings.warehouse).read(ITEMS).column("item_id").to_pylist()
    toy_version.champion(settings, sorted(items)[:250])
    assert score.run(settings, FIRST)["users_scored"] == 60
    return settings


def change(spark: SparkSession, settings: Settings, name: str, rows: Rows) -> None:
    """Merge `rows` into a table as ingest does."""
    table = pa.Table.from_pylist(rows, schema=TABLES[name].arrow_schema)
    merge(spark, Warehouse(settings.warehouse), name, spark.createDataFrame(table))


def event(user: str, item: str, value: float = 5.0, ts: dt.datetime = EVENING) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, "value": value, "ts": ts, "ingest_id": "later"}


def night(settings: Settings, run_date: str = SECOND) -> list[tuple[Any, ...]]:
    rows = Warehouse(settings.warehouse).read(RECOMMENDATIONS_STAGED).to_pylist()
    wanted = (row for row in rows if row["run_date"] == dt.date.fromisoformat(run_date))
    return sorted(tuple(row.values()) for row in wanted)


def in_both_ways(settings: Settings, run_date: str = SECOND) -> dict[str, Any]:
    """Score a night keeping lists, then in full; assert that both are the same rows."""
    result = score.run(settings, run_date)
    kept = night(settings, run_date)
    full = score.run(settings.model_copy(update={"incremental": False}), run_date)
    assert full["users_scored"] == full["users"]
    assert kept == night(settings, run_date)
    return result


events = st.builds(
    event,
    st.sampled_from([*(str(user) for user in range(1, 61)), "someone new"]),
    st.sampled_from([str(item) for item in range(1, 301)]),
    st.sampled_from([1.0, 5.0]),
    st.sampled_from([EVENING, dt.datetime(1998, 1, 1, tzinfo=dt.UTC)]),
)
people = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["1", "60", "somebody"]),
        "text": st.sampled_from(["doctor", "student of drama"]),
        "attributes": st.just([]),
    }
)


@pytest.mark.timeout(900)
@hypothesis_settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    happened=st.lists(
        events, max_size=4, unique_by=lambda e: (e["user_id"], e["item_id"], e["ts"])
    ),
    profiles=st.lists(people, max_size=2, unique_by=lambda row: row["user_id"]),
)
def test_keeping_lists_changes_nothing(
    scored: Settings, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory,
    happened: Rows, profiles: Rows,
) -> None:  # fmt: skip
    copy = tmp_path_factory.mktemp("night") / "warehouse"
    shutil.copytree(scored.warehouse, copy)
    settings = scored.model_copy(update={"warehouse": str(copy)})
    for name, rows in ((INTERACTIONS, happened), (USERS, profiles)):
        if rows:
            change(spark, settings, name, rows)
    changed = {row["user_id"] for row in [*happened, *profiles]}
    assert in_both_ways(settings)["users_scored"] <= len(changed)


def test_the_unsettled_are_scored_again_until_they_have_settled(
    scored: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    """Who was active on a day is asked after longer and longer absences for a week."""
    shutil.copytree(scored.warehouse, tmp_path / "w")
    settings = scored.model_copy(update={"warehouse": str(tmp_path / "w")})
    change(spark, settings, INTERACTIONS, [event("7", "8")])
    assert in_both_ways(settings)["users_scored"] == 1
    assert in_both_ways(settings, "2026-01-08")["users_scored"] == 1
    assert in_both_ways(settings, "2026-01-20")["users_scored"] == 1
    assert score.run(settings, "2026-01-21")["users_scored"] == 0


@pytest.mark.parametrize("what", ["item", "k", "model", "past", "feed"])
def test_everybody_is_scored_where_lists_can_change_for_all(
    scored: Settings, spark: SparkSession, tmp_path: Path, what: str
) -> None:
    shutil.copytree(scored.warehouse, tmp_path / "w")
    settings = scored.model_copy(update={"warehouse": str(tmp_path / "w")})
    warehouse, date = Warehouse(settings.warehouse), SECOND
    if what == "item":
        first = warehouse.read(ITEMS).to_pylist()[0]
        change(spark, settings, ITEMS, [{**first, "available": False}])
    elif what == "k":
        settings = settings.model_copy(update={"k": 3})
    elif what == "model":
        known = sorted(warehouse.read(ITEMS).column("item_id").to_pylist())[:250]
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
    assert score.run(settings, date)["users_scored"] == 60
