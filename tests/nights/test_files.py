"""Files that tasks write and the driver commits: who can read them, and what is refused."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import Row, SparkSession
from staging import ODD

from jobs.nights.commit import commit_night
from jobs.nights.files import CHECKS, FILES_SCHEMA, Destination, written
from jobs.nights.rows import COLUMNS
from jobs.nights.staged import StagedNight, staged_nights
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import RECOMMENDATIONS_STAGED, TABLES
from jobs.warehouse.views import connect
from models.errors import InputError

FIRST, SECOND = dt.date(2026, 1, 5), dt.date(2026, 1, 6)
ADA = ("ada", 1, "b", 0.5)
BOTH = [ADA, (ODD, 1, "a", -0.75)]

Values = tuple[Any, ...]


@pytest.fixture
def made(warehouse: Warehouse) -> Warehouse:
    """A warehouse with an empty staged table."""
    warehouse.create(RECOMMENDATIONS_STAGED)
    return warehouse


def tables(*rows: Values) -> Iterator[pa.Table]:
    """Yield one table a row."""
    for row in rows:
        values = dict(zip(("user_id", "rank", "item_id", "score"), row, strict=True))
        values |= {"model_version": "m1", "reason": "profile"}
        yield pa.Table.from_pylist([values], schema=COLUMNS)


def files(warehouse: Warehouse, rows: list[Values], night: dt.date = FIRST) -> list[Row]:
    """Write `rows` as a task does, and return what the driver gets."""
    to = Destination(warehouse.path(RECOMMENDATIONS_STAGED), night, "m1")
    return [Row(**row) for batch in written(tables(*rows), to) for row in batch.to_pylist()]


def on_disk(warehouse: Warehouse) -> list[Path]:
    return list(Path(warehouse.path(RECOMMENDATIONS_STAGED)).rglob("*.parquet"))


def staged(warehouse: Warehouse) -> list[Values]:
    rows = warehouse.read(RECOMMENDATIONS_STAGED).to_pylist()
    names = ("run_date", "user_id", "rank", "item_id", "score")
    return sorted(tuple(row[name] for name in names) for row in rows)


def dated(night: dt.date, rows: list[Values]) -> list[Values]:
    return [(night, *row) for row in rows]


def test_a_commit_replaces_its_night_alone(made: Warehouse) -> None:
    assert commit_night(made, FIRST, files(made, BOTH) + files(made, [("eve", 1, "a", 2.0)]), "1")
    commit_night(made, SECOND, files(made, [ADA], SECOND), "2")
    commit_night(made, FIRST, files(made, BOTH), "3")
    assert staged(made) == dated(FIRST, BOTH) + dated(SECOND, [ADA])
    version = made.version(RECOMMENDATIONS_STAGED)
    assert commit_night(made, FIRST, files(made, []), "4") == version + 1
    assert staged(made) == dated(SECOND, [ADA])
    assert commit_night(made, FIRST, [], "5") == version + 2
    history = DeltaTable(made.path(RECOMMENDATIONS_STAGED)).history(5)
    assert [commit["userMetadata"] for commit in history] == ["5", "4", "3", "2", "1"]


def test_duckdb_and_spark_read_the_files_and_their_statistics(
    made: Warehouse, spark: SparkSession
) -> None:
    commit_night(made, FIRST, files(made, BOTH), "1")
    query = "SELECT run_date, user_id, rank, item_id, score FROM {} WHERE user_id > {} AND rank < 2"
    with connect(made) as duckdb:
        found = duckdb.sql(query.format(RECOMMENDATIONS_STAGED, "'b'")).fetchall()
    path = f"delta.`{made.path(RECOMMENDATIONS_STAGED)}`"
    by_spark = [tuple(row) for row in spark.sql(query.format(path, "'b'")).collect()]
    assert found == by_spark == dated(FIRST, BOTH[1:])
    assert spark.sql(query.format(path, "'zz'")).collect() == []
    assert spark.sql(f"SELECT count(*) FROM {path}").collect()[0][0] == 2


def test_spark_reads_on_after_a_checkpoint(made: Warehouse, spark: SparkSession) -> None:
    night = StagedNight(FIRST, "m1", 1, {"items": 1})
    commit_night(made, FIRST, files(made, BOTH), night.metadata())
    path = made.path(RECOMMENDATIONS_STAGED)
    DeltaTable(path).create_checkpoint()
    commit_night(made, SECOND, files(made, [ADA], SECOND), "another writer's")
    assert spark.sql(f"SELECT count(*) FROM delta.`{path}`").collect()[0][0] == 3
    assert staged_nights(made) == [night]


def test_a_file_says_what_stands_in_it(made: Warehouse) -> None:
    [file] = files(made, BOTH)
    [path] = on_disk(made)
    assert list(file.asDict()) == FILES_SCHEMA.names
    assert (file.rows, file.bytes) == (2, path.stat().st_size)
    stats = json.loads(file.stats)
    assert stats["numRecords"] == 2
    assert stats["minValues"] == {"user_id": "ada", "rank": 1, "score": -0.75}
    assert stats["maxValues"] == {"user_id": ODD, "rank": 1, "score": 0.5}
    assert pq.read_schema(path).equals(COLUMNS)


def test_an_infinite_score_has_no_statistics(made: Warehouse) -> None:
    [file] = files(made, [ADA, ("ada", 2, "c", float("-inf"))])
    stats = json.loads(file.stats, parse_constant=pytest.fail)
    assert stats["maxValues"] == {"user_id": "ada", "rank": 2}


@pytest.mark.parametrize(
    ("row", "check"),
    [
        (("bob", 0, "b", 0.5), "rank >= 1"),
        (("bob", 1, "b", float("nan")), "NOT isnan(score)"),
        (("bob", 1, None, 0.5), "item_id NOT NULL"),
        ((None, 1, "b", 0.5), "user_id NOT NULL"),
    ],
)
def test_a_row_that_breaks_a_check_is_refused_by_user_and_leaves_no_file(
    made: Warehouse, row: Values, check: str
) -> None:
    with pytest.raises(InputError) as refused:
        files(made, [ADA, row, ("eve", 1, "b", 0.5)])
    assert f"user {row[0]!r}: a row breaks a check of `recommendations_staged`" in str(
        refused.value
    )
    assert f"({check})" in str(refused.value)
    assert not on_disk(made)


def test_an_attempt_that_fails_leaves_no_file(made: Warehouse) -> None:
    def rows() -> Iterator[pa.Table]:
        yield from tables(ADA)
        assert on_disk(made)
        raise OSError("no space left")

    to = Destination(made.path(RECOMMENDATIONS_STAGED), FIRST, "m1")
    with pytest.raises(OSError, match="no space left"):
        list(written(rows(), to))
    assert not on_disk(made)


def test_every_check_of_the_table_is_enforced_and_no_other_is_known(made: Warehouse) -> None:
    assert CHECKS.keys() == TABLES[RECOMMENDATIONS_STAGED].checks.keys()
    found = files(made, [ADA])
    DeltaTable(made.path(RECOMMENDATIONS_STAGED)).alter.add_constraint({"low": "score < 9"})
    with pytest.raises(InputError, match=r"has the CHECK low \(score < 9\)"):
        commit_night(made, FIRST, found, "1")
    assert staged(made) == []
