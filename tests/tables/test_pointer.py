"""Which night is visible: told by the order of commits, by no clock, and by `runs` alone."""

import datetime as dt
import shutil
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from staging import NIGHT, RIGHT, copied, ingested, publish_night, stage, visible

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import publish, rollback, sql
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import recorded
from jobs.warehouse.pointer import VISIBLE_NIGHT, published_nights
from jobs.warehouse.tables import RECOMMENDATIONS, RUNS, TABLES
from jobs.warehouse.views import register_views
from models.errors import InputError

NIGHTS = [NIGHT + dt.timedelta(days=days) for days in range(3)]
NOON = dt.datetime(2026, 1, 10, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def three_nights(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two published nights, and a third that is staged."""
    folder = tmp_path_factory.mktemp("three-nights")
    made = ingested(folder)
    for night in NIGHTS[:2]:
        publish_night(made, RIGHT, night)
    stage(Warehouse(made.warehouse), RIGHT, NIGHTS[2])
    return made


@pytest.fixture
def settings(three_nights: Settings, tmp_path: Path) -> Settings:
    """A copy for one test."""
    return copied(three_nights, tmp_path)


def shown(settings: Settings) -> str:
    query = "SELECT DISTINCT run_date::text FROM recommendations_latest"
    [[night]] = sql.run(Context.of(settings), query)["rows"]
    return str(night)


def move_clocks(settings: Settings, by: dt.timedelta) -> None:
    """Rewrite when every run so far has ended, as if the clock had been wrong."""
    warehouse = Warehouse(settings.warehouse)
    runs = warehouse.read(RUNS)
    place = runs.column_names.index("finished_at")
    moved = pc.add(runs["finished_at"], pa.scalar(by))
    warehouse.replace(RUNS, runs.set_column(place, runs.schema.field(place), moved), "true")


@pytest.mark.parametrize("by", [dt.timedelta(days=10), dt.timedelta(hours=2)], ids=str)
def test_a_clock_that_was_ahead_changes_nothing(settings: Settings, by: dt.timedelta) -> None:
    """To the runs before it, a clock that is two hours behind now was two hours ahead."""
    move_clocks(settings, by)
    assert publish.run(Context.of(settings), str(NIGHTS[2]))["visible_night"] == str(NIGHTS[2])
    assert shown(settings) == str(NIGHTS[2])
    move_clocks(settings, by)
    assert rollback.run(Context.of(settings))["visible_night"] == str(NIGHTS[1])
    assert shown(settings) == str(NIGHTS[1])
    move_clocks(settings, by)
    publish.run(Context.of(settings), str(NIGHTS[2]))
    assert shown(settings) == str(NIGHTS[2])


def test_publishing_an_old_date_never_moves_the_view(settings: Settings) -> None:
    result = publish.run(Context.of(settings), str(NIGHTS[0]))
    assert (result["published_night"], result["visible_night"]) == (str(NIGHTS[0]), str(NIGHTS[1]))
    assert shown(settings) == str(NIGHTS[1])


def test_a_night_that_was_rolled_back_is_hidden_until_it_is_published_again(
    settings: Settings,
) -> None:
    rollback.run(Context.of(settings))
    publish.run(Context.of(settings), str(NIGHTS[2]))
    assert rollback.run(Context.of(settings))["visible_night"] == str(NIGHTS[0])
    publish.run(Context.of(settings), str(NIGHTS[1]))
    assert shown(settings) == str(NIGHTS[1])


def lose(settings: Settings, night: dt.date) -> None:
    DeltaTable(f"{settings.warehouse}/{RECOMMENDATIONS}").delete(f"run_date = '{night}'")


@pytest.mark.parametrize("view", ["recommendations_latest", "recommendations_named"])
def test_a_visible_night_without_rows_is_an_error_that_names_it(
    settings: Settings, spark: SparkSession, view: str
) -> None:
    for lost in reversed(NIGHTS[:2]):  # at last the table is empty
        lose(settings, lost)
        message = f"night {NIGHTS[1]} is the visible night, but `recommendations` has no rows"
        for columns in ("*", "count(*)"):
            with pytest.raises(InputError, match=message):
                sql.run(Context.of(settings), f"SELECT {columns} FROM {view}")
            register_views(spark, Warehouse(settings.warehouse))
            with pytest.raises(Exception, match=message):
                spark.sql(f"SELECT {columns} FROM {view}").collect()
    assert sql.run(Context.of(settings), "SELECT count(*) FROM runs")["rows"] == [[2]]


@pytest.mark.parametrize("mend", ["publish", "rollback"])
def test_what_the_error_says_mends_it(settings: Settings, mend: str) -> None:
    lose(settings, NIGHTS[1])
    if mend == "publish":
        publish.run(Context.of(settings), str(NIGHTS[1]))
    else:
        assert rollback.run(Context.of(settings))["visible_night"] == str(NIGHTS[0])
    assert visible(settings) == [list(row) for row in RIGHT]


def test_a_lost_table_is_an_error_too(settings: Settings) -> None:
    shutil.rmtree(f"{settings.warehouse}/{RECOMMENDATIONS}")
    with pytest.raises(InputError, match=f"night {NIGHTS[1]} is the visible night"):
        visible(settings)


events = st.tuples(
    st.sampled_from(["publish", "publish", "rollback", "score"]),
    st.integers(1, 6),
    st.sampled_from(["succeeded", "succeeded", "failed"]),
    st.integers(0, 3),
)


@given(happened=st.lists(events, max_size=12), numbered=st.booleans())
def test_the_query_gives_what_a_plain_replay_gives(
    happened: list[tuple[str, int, str, int]], numbered: bool
) -> None:
    """Where runs of earlier releases have no number, their clocks order them."""
    if not numbered:
        happened = sorted(happened, key=lambda event: event[3])
    expected: set[int] = set()
    for step, day, status, _ in happened:
        if step != "score" and status == "succeeded":
            expected = {one for one in expected if step == "publish" or one < day} | {day}
    rows = [
        {
            "run_id": f"{place:02}", "step": step, "run_date": dt.date(2026, 1, day),
            "inputs": [], "rows": [], "seconds": 0.0, "status": status,
            "finished_at": NOON + dt.timedelta(hours=hour),
            "sequence": place if numbered else None,
        }
        for place, (step, day, status, hour) in enumerate(happened)
    ]  # fmt: skip
    import duckdb

    with duckdb.connect() as connection:
        connection.register(RUNS, pa.Table.from_pylist(rows, schema=TABLES[RUNS].arrow_schema))
        [[found]] = connection.sql(VISIBLE_NIGHT).fetchall()
    assert (None if found is None else found.day) == max(expected, default=None)


def test_runs_are_numbered_in_the_order_of_their_commits(warehouse: Warehouse) -> None:
    """By the commit itself, so that two writers without a lock can't take the same number."""

    def several() -> None:
        for _ in range(4):
            with recorded(Unlocked(warehouse.root), "score"):
                pass

    with recorded(warehouse, "ingest"):
        pass
    threads = [threading.Thread(target=several) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    DeltaTable(warehouse.path(RUNS)).optimize.compact()
    numbers = sorted(row["sequence"] for row in warehouse.read(RUNS).to_pylist())
    assert numbers == list(range(1, 14))


class Unlocked(Warehouse):
    """A local warehouse as one on an object store is: without locks."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.remote = True


def test_no_runs_no_nights(warehouse: Warehouse) -> None:
    nights = published_nights(warehouse)
    assert (nights.published, nights.visible) == ({}, None)
