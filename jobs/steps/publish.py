"""Audit the staged night and make it visible, atomically.

- The staged rows are audited against the table versions that they were made of, and their figures
  against the nights before. A figure out of bounds may be accepted, with a reason for the lineage.
- One commit replaces the night in `recommendations`.
- The succeeded run makes it one of the published nights, of which the views show the newest
  (`jobs.warehouse.pointer`): a reader sees the night before or this one, whole. An older date is
  published without being seen.

Publishing a night again converges on the same rows. A night that fails stays staged for a look.

Trade-off: DuckDB and deltalake stream the rows through this process, without a JVM to start;
that is right up to some hundred million rows a night.
"""
# ruff: noqa: S608  (names of tables and checked dates, nothing that people type)

import time
from contextlib import ExitStack
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, write_deltalake

from jobs.context import Context
from jobs.nights.audit import audit
from jobs.nights.bounds import accepted, count, figures, parse_accepted
from jobs.nights.staged import StagedNight, night_or_default, refuse_other_tables, staged_night
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.pointer import published_nights
from jobs.warehouse.tables import RECOMMENDATIONS, RECOMMENDATIONS_STAGED, TABLES
from jobs.warehouse.views import connect
from models.errors import InputError

_BATCH_ROWS = 100_000


def run(
    context: Context, run_date: str | None = None, accept: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Audit the staged night `run_date` and make it the visible one, unless a newer one is.

    `accept` holds texts CHECK=REASON, for figures that may be out of bounds. Raises InputError
    where the night isn't staged or fails its audit; what readers see stays as it was.
    """
    start = time.monotonic()
    warehouse, reasons = context.warehouse, parse_accepted(accept)
    date = night_or_default(warehouse, run_date)
    # a lock that is taken within is held until the run is recorded: `maintain`, a rollback or
    # another publish can't come between the copy and the row that says what was copied
    with ExitStack() as held, context.recorded("publish", date) as record:
        night, staged_version = staged_night(warehouse, date)
        refuse_other_tables(warehouse, night)
        record.model_version = night.model_version
        record.inputs = {**night.inputs, RECOMMENDATIONS_STAGED: staged_version}
        with connect(warehouse, record.inputs) as tables:
            counts = count(tables, **_audited(warehouse, tables, night))
            nights = published_nights(warehouse)
            found = figures(tables, counts, date, nights, context.settings)
            record.message = accepted(found, reasons)
            held.enter_context(warehouse.lock(RECOMMENDATIONS))
            version = _copy(warehouse, tables, night)
        record.rows = counts.recorded()
    return {
        "published_night": date.isoformat(),
        "visible_night": str(published_nights(warehouse).visible),
        "model_version": night.model_version,
        "users": counts.users,
        "rows": counts.rows,
        "figures": {figure.check: round(figure.value, 4) for figure in found},
        "accepted": record.message,
        "seconds": round(time.monotonic() - start, 2),
        "table_version": version,
    }


def _audited(
    warehouse: Warehouse, tables: duckdb.DuckDBPyConnection, night: StagedNight
) -> dict[str, int]:
    try:
        return audit(tables, night)
    except duckdb.Error as error:
        # a file of the staged night itself is lost by damage alone
        if "not found" not in str(error) or warehouse.path(RECOMMENDATIONS_STAGED) in str(error):
            raise
        raise InputError(
            f"night {night.run_date} was made of tables that are gone: `maintain` or `forget` has "
            f"removed them; run `nightrank score --run-date {night.run_date}` again"
        ) from error


def _copy(warehouse: Warehouse, tables: duckdb.DuckDBPyConnection, night: StagedNight) -> int:
    """Replace the night in `recommendations` by its staged rows; return the table's version.

    The caller holds the table's lock.
    """
    table = TABLES[RECOMMENDATIONS]
    rows = tables.sql(
        f"SELECT {', '.join(table.column_names)} FROM night ORDER BY user_id, rank"
    ).to_arrow_reader(_BATCH_ROWS)
    warehouse.create(RECOMMENDATIONS)
    write_deltalake(
        warehouse.path(RECOMMENDATIONS),
        pa.RecordBatchReader.from_batches(
            table.arrow_schema, (_typed(batch, table.arrow_schema) for batch in rows)
        ),
        mode="overwrite",
        predicate=f"run_date = '{night.run_date}'",
        commit_properties=CommitProperties(custom_metadata={"userMetadata": night.metadata()}),
    )
    return warehouse.version(RECOMMENDATIONS)


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)],
        schema=schema,
    )
