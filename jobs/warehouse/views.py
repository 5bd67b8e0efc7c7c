"""The tables and the analysts' views, for DuckDB (no JVM) and for Spark SQL.

- `recommendations_latest`: the rows of the visible night, the one that the newest succeeded run of
  publish or rollback names.
- `recommendations_named`: the same rows with the items' titles.
- Both engines get the same SQL. The tables behind the views always answer: before the first
  publish they are empty.

Trade-off: the pointer is a row of `runs`, read before the recommendations it points at, so that
no reader sees a night that isn't wholly there; a Spark view looks at it anew for every query, a
DuckDB connection once.
"""
# ruff: noqa: S608  (names of tables and checked dates, nothing that people type)

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import SUCCEEDED
from jobs.warehouse.tables import (
    ITEMS,
    RECOMMENDATIONS,
    RECOMMENDATIONS_LATEST,
    RECOMMENDATIONS_NAMED,
    RUNS,
    TABLES,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

VISIBLE_NIGHT = (
    f"SELECT max_by(run_date, finished_at) FROM {RUNS} "
    f"WHERE step IN ('publish', 'rollback') AND status = '{SUCCEEDED}'"
)
_BEHIND_VIEWS = (RUNS, RECOMMENDATIONS, ITEMS)


def latest(night: str) -> str:
    """Return the SQL of `recommendations_latest`; `night` is an SQL expression of a date."""
    return f"SELECT * FROM {RECOMMENDATIONS} WHERE run_date = ({night})"


NAMED = (
    "SELECT r.run_date, r.user_id, r.rank, r.item_id, i.title, r.score, r.reason, r.model_version "
    f"FROM {RECOMMENDATIONS_LATEST} AS r LEFT JOIN {ITEMS} AS i ON r.item_id = i.item_id"
)


@contextmanager
def connect(
    warehouse: Warehouse, versions: Mapping[str, int] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open every table, at its version in `versions` or else the newest, and the two views.

    Raises InputError where the warehouse holds no table.
    """
    pinned = versions or {}
    names = [RUNS, *(name for name in TABLES if name != RUNS)]  # the pointer before its target
    existing = warehouse.tables()
    connection = duckdb.connect()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        for name in names:
            if name in existing:
                connection.register(name, warehouse.dataset(name, pinned.get(name)))
            elif name in _BEHIND_VIEWS:
                connection.register(name, TABLES[name].arrow_schema.empty_table())
        night = visible_night(connection)
        literal = "CAST(NULL AS DATE)" if night is None else f"DATE '{night}'"
        connection.execute(f"CREATE VIEW {RECOMMENDATIONS_LATEST} AS {latest(literal)}")
        connection.execute(f"CREATE VIEW {RECOMMENDATIONS_NAMED} AS {NAMED}")
        yield connection
    finally:
        connection.close()


def visible_night(connection: duckdb.DuckDBPyConnection) -> dt.date | None:
    """Return the night that readers see, None before the first publish."""
    night: dt.date | None = connection.sql(VISIBLE_NIGHT).fetchall()[0][0]
    return night


def register_views(spark: "SparkSession", warehouse: Warehouse) -> None:
    """Make every table and the two views temporary views of the session, current at each query."""
    for name, table in TABLES.items():
        if warehouse.exists(name):
            frame = spark.read.format("delta").load(warehouse.path(name))
        elif name in _BEHIND_VIEWS:
            frame = spark.createDataFrame([], table.schema)
        else:
            continue
        frame.createOrReplaceTempView(name)
    for name, query in (
        (RECOMMENDATIONS_LATEST, latest(VISIBLE_NIGHT)),
        (RECOMMENDATIONS_NAMED, NAMED),
    ):
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {query}")
