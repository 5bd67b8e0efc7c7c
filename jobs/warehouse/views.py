"""The tables and the analysts' views, for DuckDB (no JVM) and for Spark SQL.

- `recommendations_latest` has the rows of the visible night (`jobs.warehouse.pointer`).
- `recommendations_named` has the same rows with the items' titles.
- Both engines get the same SQL. Before the first publish the views are empty. Where the visible
  night has no rows, a query of them fails and names it; all tables can still be read.

Trade-off: the visible night is named by rows of `runs`, which are read before `recommendations`, so
that no reader sees half a night. A Spark view reads them for every query, a DuckDB connection once.
"""
# ruff: noqa: S608  (names of tables and checked dates, nothing that people type)

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.pointer import VISIBLE_NIGHT, visible_night
from jobs.warehouse.queries import open_tables
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

_LOST = (
    f"is the visible night, but `{RECOMMENDATIONS}` has no rows of it: publish it again, or run "
    "`nightrank rollback`"
)
_RAISE = {"spark": "raise_error", "duckdb": "error"}
_BEHIND_VIEWS = (RUNS, RECOMMENDATIONS, ITEMS)
_HEADS = {
    "duckdb": ("-- for a session of DuckDB, which reads Delta by its own extension",
               "INSTALL delta;", "LOAD delta;"),
    "spark": ("-- for a session of Spark SQL that has Delta, statement by statement",),
}  # fmt: skip
ENGINES = tuple(_HEADS)


def _night_with_rows(engine: str) -> str:
    """Return the SQL for the visible night, which fails where that night has no rows."""
    return f"""SELECT CASE WHEN v.night IS NULL OR r.run_date IS NOT NULL THEN v.night
            ELSE CAST({_RAISE[engine]}(concat('night ', v.night, ' {_LOST}')) AS DATE) END
FROM ({VISIBLE_NIGHT}) AS v(night)
LEFT JOIN (SELECT DISTINCT run_date FROM {RECOMMENDATIONS}) AS r ON r.run_date = v.night"""


def script(warehouse: Warehouse, engine: str) -> str:
    """Return the statements that make the two views in a session of DuckDB or Spark SQL.

    They are current at each query. Raises InputError where a table behind them is missing.
    """
    statements = list(_HEADS[engine])
    for name in _BEHIND_VIEWS:
        warehouse.version(name)  # names a table that is missing
        path = warehouse.path(name)
        source = f"delta_scan('{path.replace(chr(39), 2 * chr(39))}')"
        if engine == "spark":
            source = f"delta.`{path.replace('`', '``')}`"
        statements.append(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS SELECT * FROM {source};")
    for name, query in (
        (RECOMMENDATIONS_LATEST, latest(_night_with_rows(engine))),
        (RECOMMENDATIONS_NAMED, named()),
    ):
        statements.append(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {query};")
    return "\n".join(statements)


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
    there = {name: pinned.get(name) for name in names if name in existing}
    with open_tables(warehouse, there) as connection:
        for name in _BEHIND_VIEWS:
            if name not in existing:
                connection.register(name, TABLES[name].arrow_schema.empty_table())
        night = _literal(warehouse, visible_night(connection))
        connection.execute(f"CREATE VIEW {RECOMMENDATIONS_LATEST} AS {latest(night)}")
        connection.execute(f"CREATE VIEW {RECOMMENDATIONS_NAMED} AS {named()}")
        yield connection


def _literal(warehouse: Warehouse, night: dt.date | None) -> str:
    """Return DuckDB's SQL for the visible night, which fails where that night has no rows."""
    if night is None:
        return "CAST(NULL AS DATE)"
    if night in warehouse.nights(RECOMMENDATIONS):
        return f"DATE '{night}'"
    return f"SELECT CAST(error('night {night} {_LOST}') AS DATE)"


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
        (RECOMMENDATIONS_LATEST, latest(_night_with_rows("spark"))),
        (RECOMMENDATIONS_NAMED, named()),
    ):
        spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {query}")
