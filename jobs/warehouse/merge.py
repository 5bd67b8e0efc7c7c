"""Merge a frame into its Delta table on the table's key, under the table's lock.

- Rows with a new key are inserted, rows that differ from the table's are updated, and equal rows
  are left alone. Where no row differs there is no commit, so repeating a merge changes no version.
- Where all rows are new they are appended, which is cheaper than MERGE and as safe under the lock.
  Object stores have no lock: there it is always MERGE, whose conflicts Delta detects.
- A table that consists of its key alone (triples, rejected rows) only ever gains rows.

Trade-off: a join before the commit finds the rows that differ. Where MERGE follows, that is a
second join; it buys exact counts and small merges.
"""

from dataclasses import dataclass

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import TABLES

_KNOWN = "_known"  # whether the row's key is in the table


@dataclass(frozen=True)
class Merged:
    """What a merge did: rows inserted, rows updated, rows in the table now, and its version."""

    new: int
    changed: int
    total: int
    version: int


def merge(spark: SparkSession, warehouse: Warehouse, name: str, rows: DataFrame) -> Merged:
    """Merge `rows`, which have the columns of the table `name` and distinct keys, into it."""
    with warehouse.lock(name):
        warehouse.create(name)
        if warehouse.dataset(name).count_rows():
            target = spark.read.format("delta").load(warehouse.path(name))
            rows = _differing(name, rows, target).persist()
        else:
            rows = rows.withColumn(_KNOWN, fn.lit(False))
        try:
            counts = {row[_KNOWN]: row["count"] for row in rows.groupBy(_KNOWN).count().collect()}
            if counts:
                _commit(spark, warehouse, name, rows.drop(_KNOWN), bool(counts.get(True)))
        finally:
            rows.unpersist()
        total = warehouse.dataset(name).count_rows()
        return Merged(counts.get(False, 0), counts.get(True, 0), total, warehouse.version(name))


def _commit(
    spark: SparkSession, warehouse: Warehouse, name: str, rows: DataFrame, some_known: bool
) -> None:
    path = warehouse.path(name)
    if not some_known and not warehouse.remote:
        # the lock keeps other writers out, so what was new a moment ago is new
        rows.write.format("delta").mode("append").save(path)
        return
    same = " AND ".join(f"t.`{column}` = s.`{column}`" for column in TABLES[name].key)
    merger = DeltaTable.forPath(spark, path).alias("t").merge(rows.alias("s"), same)
    # by name: another program may have added a column, which stays as it is
    values: dict[str, str | Column] = {
        column: f"s.`{column}`" for column in TABLES[name].column_names
    }
    if some_known:
        merger = merger.whenMatchedUpdate(set=values)
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


def _differing(name: str, rows: DataFrame, target: DataFrame) -> DataFrame:
    """Return rows whose key is not in the target (`_known` false) or that differ there (true)."""
    key = list(TABLES[name].key)
    there = target.select(*key, contents(name).alias("_there"))
    joined = rows.withColumn("_here", contents(name)).join(there, key, "left")
    unlike = fn.col("_there").isNull() | (fn.col("_here") != fn.col("_there"))
    known = fn.col("_there").isNotNull().alias(_KNOWN)
    return joined.where(unlike).select(*TABLES[name].column_names, known)
