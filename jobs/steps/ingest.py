"""ingest: check a source and merge it into the tables.

- Everything is read and judged before the first commit: a source with an error as a whole leaves
  the tables as they are.
- Commits in the order items, users, triples, interactions, rejected rows, so that no reader sees
  an interaction without its item.
- The ingest_id is a hash of the source's content: the same source again changes nothing.

Trade-off: Delta commits one table at a time; a process killed between two commits leaves the later
tables as they were, and running it again completes them.
"""

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.context import Context
from jobs.sources.columns import RawTable, parse_said, reading_notes, refuse_unknown_fields
from jobs.sources.preview import lines, preview
from jobs.sources.source import Source, open_source
from jobs.sources.validation import (
    CheckedTable,
    check,
    completed,
    count_rejected,
    reject_unknown_items,
)
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

A_DAY = dt.timedelta(days=1)
ORDER = (ITEMS, USERS, TRIPLES, INTERACTIONS)


def run(
    context: Context, source: str, column: Sequence[str] = (), dry_run: bool = False
) -> dict[str, Any]:
    """Ingest `source`, of those that `open_source` knows, and return the counts of each table.

    `column` has pairs such as `user_id=customer_id`, beside the setting `columns`. A dry run writes
    nothing and returns what would come of it. Raises InputError when the source as a whole is bad,
    has more bad rows than the setting allows, or the warehouse can't be written.
    """
    start = time.monotonic()
    settings, warehouse = context.settings, context.warehouse
    refuse_unknown_fields(settings.columns)
    columns = {**settings.columns, **parse_said(column)}
    if dry_run:
        found = open_source(source, warehouse, Path(settings.reports), columns)
        spark = open_session(settings, "ingest")
        return _previewed(spark, warehouse, found, settings.positive_threshold)
    with context.recorded("ingest") as lineage:
        found = open_source(source, warehouse, Path(settings.reports), columns)
        warehouse.ensure_writable()
        spark = open_session(settings, "ingest")
        ingest_id = found.fingerprint()
        raw = found.read(spark)
        tables = _checked(spark, warehouse, raw, ingest_id)
        rejected = count_rejected(tables, settings.max_rejected_share)
        rows = {table.name: table.good for table in tables}
        bad_rows = reduce(DataFrame.unionByName, (table.rejected for table in tables))
        rows[REJECTED_ROWS] = bad_rows.withColumn("ingest_id", fn.lit(ingest_id))
        merged = {name: merge(spark, warehouse, name, frame) for name, frame in rows.items()}
        for table in tables:
            table.frame.unpersist()
        lineage.rows |= {name: one.new + one.changed for name, one in merged.items()}
    seconds = time.monotonic() - start
    return _result(source, ingest_id, merged, rejected, reading_notes(raw), seconds)


def _previewed(
    spark: SparkSession, warehouse: Warehouse, found: Source, threshold: float
) -> dict[str, Any]:
    raw = found.read(spark)
    tables = {table.name: table for table in _checked(spark, warehouse, raw, "")}
    shown = {one.name: preview(one, tables[one.name], threshold) for one in raw}
    notes = reading_notes(raw)
    told = [line for name, one in shown.items() for line in lines(name, one)]
    text = "\n".join([*notes, *told, "nothing was written: this was a dry run"])
    return {"text": text, "dry_run": True, "notes": notes, "tables": shown}


def _checked(
    spark: SparkSession, warehouse: Warehouse, raw: list[RawTable], ingest_id: str
) -> list[CheckedTable]:
    """Return the tables in the order of their commits, judged and kept in memory or on disk."""
    tables: dict[str, CheckedTable] = {}
    latest = dt.datetime.now(dt.UTC) + A_DAY  # clocks and zones differ by less
    for one in sorted(raw, key=lambda table: ORDER.index(table.name)):
        table = check(one, ingest_id, latest)
        if table.name in (ITEMS, USERS):
            table = completed(table, _as_it_stands(spark, warehouse, table.name))
        if table.name == INTERACTIONS:
            known = [tables[ITEMS].good] if ITEMS in tables else []
            there = _as_it_stands(spark, warehouse, ITEMS)
            table = reject_unknown_items(table, known if there is None else [*known, there])
        table.frame.persist(StorageLevel.MEMORY_AND_DISK)
        tables[table.name] = table
    return list(tables.values())


def _as_it_stands(spark: SparkSession, warehouse: Warehouse, name: str) -> DataFrame | None:
    if not warehouse.exists(name):
        return None
    warehouse.version(name)  # migrates a table of an earlier release
    return spark.read.format("delta").load(warehouse.path(name))


def _result(
    source: str,
    ingest_id: str,
    merged: dict[str, Merged],
    rejected: int,
    notes: list[str],
    seconds: float,
) -> dict[str, Any]:
    text = [*notes, f"ingested {source} as {ingest_id} in {seconds:.1f} s"]
    text += [
        f"{name:<14} {one.new:>9} new {one.changed:>9} changed {one.total:>9} rows"
        f"  version {one.version}"
        for name, one in merged.items()
    ]
    if rejected:
        text.append(f"{rejected} bad rows, with their reasons, are in table {REJECTED_ROWS}")
    return {
        "text": "\n".join(text),
        "source": source,
        "ingest_id": ingest_id,
        "rejected": rejected,
        "notes": notes,
        "seconds": round(seconds, 3),
        "tables": {name: asdict(one) for name, one in merged.items()},
    }
