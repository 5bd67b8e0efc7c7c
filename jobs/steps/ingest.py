"""ingest: check a source and merge it into the tables.

- Everything is read and judged before the first commit: a source with an error as a whole leaves
  the tables as they are.
- Commits in the order items, users, triples, interactions, rejected rows, so that no reader sees
  an interaction without its item.
- The ingest_id is a hash of the source's content: the same source again changes nothing.

Trade-off: Delta commits one table at a time; a process killed between two commits leaves the later
tables as they were, and running it again completes them.
"""

import time
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.context import Context
from jobs.sources.source import open_source
from jobs.sources.validation import CheckedTable, RawTable, check, reject_unknown_items
from jobs.spark.session import open_session
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.merge import Merged, merge
from jobs.warehouse.tables import (
    INTERACTIONS,
    ITEMS,
    REJECTED_ROWS,
    TRIPLES,
    USERS,
)
from models.errors import InputError

ORDER = (ITEMS, USERS, TRIPLES, INTERACTIONS)


def run(context: Context, source: str) -> dict[str, Any]:
    """Ingest `source`, of those that `open_source` knows, and return the counts of each table.

    Raises InputError when the source as a whole is bad or the warehouse can't be written.
    """
    start = time.monotonic()
    settings, warehouse = context.settings, context.warehouse
    with context.recorded("ingest") as lineage:
        found = open_source(source, warehouse, Path(settings.reports))
        warehouse.ensure_writable()
        spark = open_session(settings, "ingest")
        ingest_id = found.fingerprint()
        tables = _checked(spark, warehouse, found.read(spark), ingest_id)
        rejected = sum(_rejected_count(table) for table in tables)
        rows = {table.name: table.good for table in tables}
        bad_rows = reduce(DataFrame.unionByName, (table.rejected for table in tables))
        rows[REJECTED_ROWS] = bad_rows.withColumn("ingest_id", fn.lit(ingest_id))
        merged = {name: merge(spark, warehouse, name, frame) for name, frame in rows.items()}
        for table in tables:
            table.frame.unpersist()
        lineage.rows |= {name: one.new + one.changed for name, one in merged.items()}
    return _result(source, ingest_id, merged, rejected, time.monotonic() - start)


def _checked(
    spark: SparkSession, warehouse: Warehouse, raw: list[RawTable], ingest_id: str
) -> list[CheckedTable]:
    """Return the tables in the order of their commits, judged and kept in memory or on disk."""
    tables: dict[str, CheckedTable] = {}
    for one in sorted(raw, key=lambda table: ORDER.index(table.name)):
        table = check(one, ingest_id)
        if table.name == INTERACTIONS:
            known = [tables[ITEMS].good] if ITEMS in tables else []
            if warehouse.exists(ITEMS):
                known.append(spark.read.format("delta").load(warehouse.path(ITEMS)))
            table = reject_unknown_items(table, known)
        table.frame.persist(StorageLevel.MEMORY_AND_DISK)
        tables[table.name] = table
    return list(tables.values())


def _rejected_count(table: CheckedTable) -> int:
    """Return the number of bad rows; InputError when the table is empty or has no other rows."""
    try:
        counts = table.reasons()
    except Exception as error:
        if "FAILED_READ_FILE" not in str(error):
            raise
        raise InputError(f"{table.origin} can't be read: it is damaged or not UTF-8") from error
    good = counts.pop(None, 0)
    rejected = sum(counts.values())
    if not good and not rejected:
        raise InputError(f"{table.origin} is empty: it holds no row of table `{table.name}`")
    if not good:
        reason, row = table.example()
        raise InputError(
            f"{table.origin}: all {rejected} rows of table `{table.name}` are bad; "
            f"for example {row}: {reason}"
        )
    return rejected


def _result(
    source: str, ingest_id: str, merged: dict[str, Merged], rejected: int, seconds: float
) -> dict[str, Any]:
    lines = [f"ingested {source} as {ingest_id} in {seconds:.1f} s"]
    lines += [
        f"{name:<14} {one.new:>9} new {one.changed:>9} changed {one.total:>9} rows"
        f"  version {one.version}"
        for name, one in merged.items()
    ]
    if rejected:
        lines.append(f"{rejected} bad rows, with their reasons, are in table {REJECTED_ROWS}")
    return {
        "text": "\n".join(lines),
        "source": source,
        "ingest_id": ingest_id,
        "rejected": rejected,
        "seconds": round(seconds, 3),
        "tables": {name: asdict(one) for name, one in merged.items()},
    }
