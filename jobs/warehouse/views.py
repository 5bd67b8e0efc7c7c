"""The tables and the analysts' views, for DuckDB (no JVM) and for Spark SQL.

- `recommendations_latest` has the rows of the visible night, which is named by the newest run of
  publish or rollback that succeeded.
- `recommendations_named` has the same rows with the items' titles.
- Both engines get the same SQL. Before the first publish the views are empty.

Trade-off: the visible night is named by a row of `runs`, which is read before `recommendations`, so
that no reader sees half a night. A Spark view reads that row for every query, a DuckDB connection
once.
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


def named() -> str:
    """Return the SQL of `recommendations_named`: the title beside its item, the model last."""
    names = TABLES[RECOMMENDATIONS].column_names
    columns = [f"r.{name}" for name in names if name != "model_version"] + ["r.model_version"]
    columns.insert(columns.index("r.item_id") + 1, "i.title")
    return (
        f"SELECT {', '.join(columns)} "
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
    names = [RUNS, *(name for name in TABLES if name != RUNS)]  # names the visible night: first
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
        connection.execute(f"CREATE VIEW {RECOMMENDATIONS_NAMED} AS {named()}")
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
            warehouse.version(name)  # migrates a table of an earlier release
            frame = spark.read.format("delta").load(warehouse.path(name))
        elif name in _BEHIND_VIEWS:
            frame = spark.createDataFrame(table.arrow_schema.empty_table())
        else:
            continue
        frame.createOrReplaceTempView(name)
    for name, query in (
        (RECOMMENDATIONS_LATEST, latest(VISIBLE_NIGHT)),
        (RECOMMENDATIONS_NAMED, named()),
    ):
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {query}")
