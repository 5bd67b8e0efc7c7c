"""ingest: check a source and merge it into the tables.

- Everything is read and judged before the first commit: a source with an error as a whole leaves
  the tables as they are.
- Commits in the order items, users, triples, interactions, rejected rows, so that no reader sees
  an interaction without its item.
- What the source lacks stays as it is; of a snapshot it goes: users, interactions and triples are
  deleted, items go off sale. A partial source changes the columns alone that it has.
- The ingest_id is a hash of the source's content: the same source again changes nothing.

Trade-off: Delta commits one table at a time; a process killed between two commits leaves the later
tables as they were, and running it again completes them.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.context import Context
from jobs.credentials import without_credentials
from jobs.nights.staged import parse_night
from jobs.sources.arrival.commits import PARTIAL, SNAPSHOT, checked_tables, merged_tables
from jobs.sources.columns import RawTable, reading_notes, refuse_absent, told_columns
from jobs.sources.made_fields import Made
from jobs.sources.places.several import open_sources
from jobs.sources.preview import lines, preview
from jobs.sources.source import Source
from jobs.sources.validation import count_rejected
from jobs.spark.session import open_session
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.merge import Merged
from jobs.warehouse.tables import REJECTED_ROWS
from models.errors import InputError

Told = Mapping[str, str | Made]  # what a person has said of fields


def run(
    context: Context,
    source: str | Sequence[str],
    column: Sequence[str] = (),
    dry_run: bool = False,
    snapshot: bool = False,
    partial: bool = False,
    run_date: str | None = None,
) -> dict[str, Any]:
    """Ingest `source`, one place or several, and return the counts of each table.

    `column` has pairs such as `user_id=customer_id`, beside the setting `columns`. A dry run writes
    nothing and returns what would come of it. A `snapshot` has all rows of its tables, a `partial`
    source some of their columns; else the setting `ingest_mode` says which it is. `run_date` is put
    where a place says `{run_date}`. Raises InputError when the source as a whole is bad, has more
    bad rows than the setting allows, or the warehouse can't be written.
    """
    start = time.monotonic()
    settings, warehouse = context.settings, context.warehouse
    columns = told_columns(settings.columns, column)
    mode = _mode(settings.ingest_mode, snapshot, partial)
    places = [source] if isinstance(source, str) else list(source)
    if dry_run:
        found = _opened(context, places, columns, run_date)
        spark = open_session(settings, "ingest")
        raw = _read(found, spark, columns)
        return _previewed(spark, warehouse, raw, settings.positive_threshold, mode)
    with context.recorded("ingest") as lineage:
        found = _opened(context, places, columns, run_date)
        warehouse.ensure_writable()
        spark = open_session(settings, "ingest")
        ingest_id = lineage.message = found.fingerprint()
        raw = _read(found, spark, columns)
        tables = checked_tables(spark, warehouse, raw, ingest_id, mode)
        rejected = count_rejected(tables, settings.max_rejected_share)
        of_kinds = any("value" in one.made and one.made["value"].kinds for one in raw)
        merged = merged_tables(spark, warehouse, tables, ingest_id, mode, of_kinds)
        lineage.rows |= {name: one.new + one.changed + one.removed for name, one in merged.items()}
    seconds = time.monotonic() - start
    return _result(places, ingest_id, merged, rejected, reading_notes(raw), seconds)


def _opened(context: Context, places: Sequence[str], columns: Told, run_date: str | None) -> Source:
    date = None if run_date is None else str(parse_night(run_date, "--run-date"))
    reports = Path(context.settings.reports)
    return open_sources(places, context.warehouse, reports, columns, date)


def _read(source: Source, spark: SparkSession, columns: Mapping[str, str | Made]) -> list[RawTable]:
    raw = source.read(spark)
    refuse_absent(raw, columns)
    return raw


def _mode(configured: str, snapshot: bool, partial: bool) -> str:
    if snapshot and partial:
        raise InputError("--snapshot and --partial: a source is one of them, or neither")
    return SNAPSHOT if snapshot else PARTIAL if partial else configured


def _previewed(
    spark: SparkSession, warehouse: Warehouse, raw: list[RawTable], threshold: float, mode: str
) -> dict[str, Any]:
    tables = {table.name: table for table in checked_tables(spark, warehouse, raw, "", mode)}
    shown = {one.name: preview(one, tables[one.name], threshold) for one in raw}
    notes = reading_notes(raw)
    told = [line for name, one in shown.items() for line in lines(name, one)]
    text = "\n".join([*notes, *told, "nothing was written: this was a dry run"])
    return {"text": text, "dry_run": True, "notes": notes, "tables": shown}


def _result(
    places: Sequence[str],
    ingest_id: str,
    merged: dict[str, Merged],
    rejected: int,
    notes: list[str],
    seconds: float,
) -> dict[str, Any]:
    source = " ".join(map(without_credentials, places))
    text = [*notes, f"ingested {source} as {ingest_id} in {seconds:.1f} s"]
    text += [
        f"{name:<14} {one.new:>9} new {one.changed:>9} changed {one.removed:>9} removed"
        f" {one.total:>9} rows  version {one.version}"
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
