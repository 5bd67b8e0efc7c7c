"""The tables of a source, judged beside what is there, and merged into it.

- In the order items, users, triples, interactions, rejected rows, so that no reader sees an
  interaction without its item.
- Of a snapshot, what it lacks goes; a row that it has, if a bad one, stays as it was.
- Judged rows wait on disk, not in memory, so that their number doesn't matter.

Trade-off: a table is judged before its lock is taken; two ingests at once of the same items may
each complete them from what stood before.
"""

import datetime as dt
from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.sources.arrival.completion import completed
from jobs.sources.columns import RawTable
from jobs.sources.validation import CheckedTable, check, reject_unknown_items
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.kinds import remember_largest
from jobs.warehouse.merge import Merged, merge
from jobs.warehouse.tables import INTERACTIONS, ITEMS, REJECTED_ROWS, TRIPLES, USERS

A_DAY = dt.timedelta(days=1)
SNAPSHOT, PARTIAL = "snapshot", "partial"
ORDER = (ITEMS, USERS, TRIPLES, INTERACTIONS)


def checked_tables(
    spark: SparkSession, warehouse: Warehouse, raw: list[RawTable], ingest_id: str, mode: str
) -> list[CheckedTable]:
    """Return the tables in the order of their commits, judged and kept on disk.

    Not in memory: Spark reads a block that was too large for it back as one array, and half of the
    rows may be a block.

    `mode` is merge, snapshot or partial.
    """
    tables: dict[str, CheckedTable] = {}
    latest = dt.datetime.now(dt.UTC) + A_DAY  # clocks and zones differ by less
    for one in sorted(raw, key=lambda table: ORDER.index(table.name)):
        table = check(one, ingest_id, latest)
        if table.name in (ITEMS, USERS):
            there = _as_it_stands(spark, warehouse, table.name)
            table = completed(table, there, mode == PARTIAL)
        if table.name == INTERACTIONS:
            known = [tables[ITEMS].good] if ITEMS in tables else []
            there = _as_it_stands(spark, warehouse, ITEMS)
            table = reject_unknown_items(table, known if there is None else [*known, there])
        table.frame.persist(StorageLevel.DISK_ONLY)
        tables[table.name] = table
    return list(tables.values())


def merged_tables(
    spark: SparkSession,
    warehouse: Warehouse,
    tables: list[CheckedTable],
    ingest_id: str,
    mode: str,
    of_kinds: bool = False,
) -> dict[str, Merged]:
    """Commit the tables one after another, the rejected rows last.

    `of_kinds` says whether the interactions' values are numbers of kinds of events.
    """
    merged = {}
    for table in tables:
        if table.name == INTERACTIONS and of_kinds:
            # of the kinds that occur: where there are clicks alone, a click is all there is
            [[largest]] = table.good.agg(fn.max("value")).collect()
            remember_largest(warehouse, largest or 0.0)
        present = table.frame if mode == SNAPSHOT else None
        gone = table.gone if table.deletes else None
        merged[table.name] = merge(spark, warehouse, table.name, table.good, gone, present)
    bad_rows = reduce(DataFrame.unionByName, (table.rejected for table in tables))
    bad_rows = bad_rows.withColumn("ingest_id", fn.lit(ingest_id))
    merged[REJECTED_ROWS] = merge(spark, warehouse, REJECTED_ROWS, bad_rows)
    for table in tables:
        table.frame.unpersist()
    return merged


def _as_it_stands(spark: SparkSession, warehouse: Warehouse, name: str) -> DataFrame | None:
    if not warehouse.exists(name):
        return None
    warehouse.version(name)  # migrates a table of an earlier release
    return spark.read.format("delta").load(warehouse.path(name))
