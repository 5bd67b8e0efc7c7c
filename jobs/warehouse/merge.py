"""Merge a frame into its Delta table on the table's key, under the table's lock.

- Rows with a new key are inserted, rows that differ from the table's are updated, and equal rows
  are left alone. Where no row differs there is no commit, so repeating a merge changes no version.
- Where all rows are new they are appended, which is cheaper than MERGE and as safe under the lock.
  Object stores have no lock: there it is always MERGE, whose conflicts Delta detects.
- A table that consists of its key alone (triples, rejected rows) gains rows alone, unless some are
  said to be gone.
- Rows that are gone are deleted. Of a snapshot, rows that it lacks are deleted, but items: these go
  off sale, because interactions may name them.

Trade-off: a join before the commit finds the rows that differ. Where MERGE follows, that is a
second join; it buys exact counts and small merges.
"""

from dataclasses import dataclass

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import ITEMS, TABLES

_CHANGE = "_change"  # what becomes of a row
_NEW, _CHANGED, _REMOVED = "new", "changed", "removed"


@dataclass(frozen=True)
class Merged:
    """What a merge did: rows inserted, updated and deleted, rows there now, and its version."""

    new: int
    changed: int
    removed: int
    total: int
    version: int


def merge(
    spark: SparkSession,
    warehouse: Warehouse,
    name: str,
    rows: DataFrame,
    gone: DataFrame | None = None,
    present: DataFrame | None = None,
) -> Merged:
    """Merge `rows`, which have the columns of the table `name` and distinct keys, into it.

    `gone` has the keys of rows to delete. `present` has the keys of all rows that a snapshot holds:
    what else is in the table goes.
    """
    with warehouse.lock(name):
        warehouse.create(name)
        if warehouse.dataset(name).count_rows():
            target = spark.read.format("delta").load(warehouse.path(name))
            changes = _changes(name, rows, target, gone, present).persist(StorageLevel.DISK_ONLY)
        else:
            changes = rows.withColumn(_CHANGE, fn.lit(_NEW))
        try:
            counts = {
                row[_CHANGE]: row["count"] for row in changes.groupBy(_CHANGE).count().collect()
            }
            if counts:
                _commit(spark, warehouse, name, changes, counts.keys() == {_NEW})
        finally:
            changes.unpersist()
        total = warehouse.dataset(name).count_rows()
        new, changed, removed = (counts.get(one, 0) for one in (_NEW, _CHANGED, _REMOVED))
        return Merged(new, changed, removed, total, warehouse.version(name))


def _commit(
    spark: SparkSession, warehouse: Warehouse, name: str, changes: DataFrame, all_new: bool
) -> None:
    path = warehouse.path(name)
    if all_new and not warehouse.remote:
        # the lock keeps other writers out, so what was new a moment ago is new
        changes.drop(_CHANGE).write.format("delta").mode("append").save(path)
        return
    same = " AND ".join(f"t.`{column}` = s.`{column}`" for column in TABLES[name].key)
    merger = DeltaTable.forPath(spark, path).alias("t").merge(changes.alias("s"), same)
    # by name: another program may have added a column, which stays as it is
    values: dict[str, str | Column] = {
        column: f"s.`{column}`" for column in TABLES[name].column_names
    }
    if not all_new:
        removed = f"s.`{_CHANGE}` = '{_REMOVED}'"
        merger = merger.whenMatchedDelete(removed).whenMatchedUpdate(set=values)
    merger.whenNotMatchedInsert(values=values).execute()


def contents(name: str) -> Column:
    """Return the columns of the table `name` beside its key, as one text to compare rows by."""
    table = TABLES[name]
    parts = [
        (fn.array_sort(fn.map_entries(column.name)) if pa.types.is_map(column.type)
         else fn.col(column.name)).alias(column.name)
        for column in table.arrow_schema
        if column.name not in {*table.key, "ingest_id"}
    ]  # fmt: skip
    return fn.to_json(fn.struct(*parts)) if parts else fn.lit("")


def _changes(
    name: str,
    rows: DataFrame,
    target: DataFrame,
    gone: DataFrame | None,
    present: DataFrame | None,
) -> DataFrame:
    """Return the rows that are new, that differ from the target's, and that are to be removed."""
    key, columns = list(TABLES[name].key), TABLES[name].column_names
    if present is not None and name == ITEMS:
        missing = target.where("available").join(present.select(*key), key, "left_anti")
        rows = rows.unionByName(missing.select(*columns).withColumn("available", fn.lit(False)))
    there = target.select(*key, contents(name).alias("_there"))
    joined = rows.withColumn("_here", contents(name)).join(there, key, "left")
    unlike = fn.col("_there").isNull() | (fn.col("_here") != fn.col("_there"))
    change = fn.when(fn.col("_there").isNull(), _NEW).otherwise(_CHANGED).alias(_CHANGE)
    found = joined.where(unlike).select(*columns, change)
    leaving = [] if gone is None else [target.join(gone.select(*key), key, "left_semi")]
    if present is not None and name != ITEMS:
        leaving.append(target.join(present.select(*key), key, "left_anti"))
    for one in leaving:
        found = found.unionByName(one.select(*columns, fn.lit(_REMOVED).alias(_CHANGE)))
    return found
