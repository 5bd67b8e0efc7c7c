"""Merge a frame into its Delta table on the table's key, under the table's lock.

- Rows whose key is new are inserted; rows that say something else are updated; equal ones are
  left alone. Where nothing differs there is no commit, so a repeated merge changes no version.
- A table that consists of its key alone (triples, rejected rows) only ever gains rows.

Trade-off: what differs is found by a join before MERGE joins once more, which costs a second pass
over the keys and gives exact counts, small merges and quiet repetitions.
"""

from dataclasses import dataclass

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.tables import TABLES
from jobs.warehouse import Warehouse


@dataclass(frozen=True)
class Merged:
    """What a merge did: rows inserted, rows changed, rows now in the table, and its version."""

    new: int
    changed: int
    total: int
    version: int


def merge(spark: SparkSession, warehouse: Warehouse, name: str, rows: DataFrame) -> Merged:
    """Merge `rows`, which have the columns of the table `name` and distinct keys, into it."""
    path = warehouse.path(name)
    key = list(TABLES[name].key)
    with warehouse.lock(name):
        warehouse.create(name)
        target = spark.read.format("delta").load(path)
        differing = _differing(name, rows, target).persist()
        try:
            counts = {bool(known): n for known, n in
                      differing.groupBy("_known").count().collect()}  # fmt: skip
            if counts:
                merger = (
                    DeltaTable.forPath(spark, path)
                    .alias("t")
                    .merge(differing.drop("_known").alias("s"), _same(key))
                    .whenNotMatchedInsertAll()
                )
                if counts.get(True):
                    merger = merger.whenMatchedUpdateAll()
                merger.execute()
        finally:
            differing.unpersist()
        total = spark.read.format("delta").load(path).count()
        return Merged(counts.get(False, 0), counts.get(True, 0), total, warehouse.version(name))


def contents(name: str) -> Column:
    """Return what a row of the table `name` says beside its key, as text to compare by."""
    table = TABLES[name]
    parts = [
        (fn.array_sort(fn.map_entries(column.name)) if column.type.startswith("map")
         else fn.col(column.name)).alias(column.name)
        for column in table.columns
        if column.name not in {*table.key, "ingest_id"}
    ]  # fmt: skip
    return fn.to_json(fn.struct(*parts)) if parts else fn.lit("")


def _differing(name: str, rows: DataFrame, target: DataFrame) -> DataFrame:
    """Return the rows that the target lacks (`_known` false) or has otherwise (true)."""
    key = list(TABLES[name].key)
    there = target.select(*key, contents(name).alias("_there"))
    joined = rows.withColumn("_here", contents(name)).join(there, key, "left")
    unlike = fn.col("_there").isNull() | (fn.col("_here") != fn.col("_there"))
    known = fn.col("_there").isNotNull().alias("_known")
    return joined.where(unlike).select(*TABLES[name].column_names, known)


def _same(key: list[str]) -> str:
    return " AND ".join(f"t.`{column}` = s.`{column}`" for column in key)
