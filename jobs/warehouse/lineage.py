"""The `runs` table: which step ran on which table versions, and what came of it.

- `recorded` wraps a step and appends exactly one row, whether the step succeeded or failed.
- A failure is recorded only where the table exists already. If recording it fails too, the step's
  own error is the one raised.

Trade-off: the row is appended after the step's own commits. A process that is killed in between
leaves data without a row; running the step again adds one, since every step is idempotent.
"""

import datetime as dt
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import RUNS, TABLES

LOGGER = logging.getLogger(__name__)

SUCCEEDED = "succeeded"
FAILED = "failed"


@dataclass
class Run:
    """What a step tells about itself: table versions read, rows written, model and night."""

    step: str
    run_date: dt.date | None = None
    model_version: str | None = None
    inputs: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


@contextmanager
def recorded(
    warehouse: Warehouse,
    step: str,
    run_date: dt.date | None = None,
    model_version: str | None = None,
) -> Iterator[Run]:
    """Run the body of `step` and append one row to `runs`; the body fills in the yielded Run.

    An exception of the body is recorded as a failed run and raised again.
    """
    run = Run(step, run_date, model_version)
    start = time.monotonic()
    try:
        yield run
    except BaseException as error:
        _record_failure(warehouse, run, time.monotonic() - start, error)
        raise
    warehouse.append(RUNS, _row(run, time.monotonic() - start, SUCCEEDED, None))


def _record_failure(warehouse: Warehouse, run: Run, seconds: float, error: BaseException) -> None:
    message = " ".join(f"{type(error).__name__}: {error}".split())
    try:
        if warehouse.exists(RUNS):
            warehouse.append(RUNS, _row(run, seconds, FAILED, message))
    except Exception:
        LOGGER.exception("the failed run of %s could not be recorded", run.step)


def _row(run: Run, seconds: float, status: str, message: str | None) -> pa.Table:
    row = {
        "run_id": uuid.uuid4().hex,
        "step": run.step,
        "run_date": run.run_date,
        "model_version": run.model_version,
        "inputs": list(run.inputs.items()),
        "rows": list(run.rows.items()),
        "seconds": seconds,
        "status": status,
        "finished_at": dt.datetime.now(dt.UTC),
        "message": message,
    }
    return pa.Table.from_pylist([row], schema=TABLES[RUNS].arrow_schema)
