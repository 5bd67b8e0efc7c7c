"""The `runs` table: which step ran on which table versions, and what came of it.

- `recorded` wraps a step and appends exactly one row, whether the step succeeded or failed.
- Rows are numbered in the order of their commits (`sequence`): the number is a transaction of the
  commit itself, and Delta refuses a second commit with the same one. Clocks may be wrong.
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
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from jobs.credentials import without_credentials
from jobs.warehouse.delta import Warehouse, naming
from jobs.warehouse.tables import RUNS, TABLES

LOGGER = logging.getLogger(__name__)

SUCCEEDED = "succeeded"
FAILED = "failed"
_TRIES = 20


@dataclass
class Run:
    """What a step tells about itself: table versions read, rows written, model and night.

    `run_id` is unique among the runs that succeeded; `message` is what else is to be known.
    """

    step: str
    run_date: dt.date | None = None
    model_version: str | None = None
    inputs: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    message: str | None = None


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
    _append(warehouse, run, time.monotonic() - start, SUCCEEDED, run.message)


def succeeded_before(warehouse: Warehouse, run_id: str | None) -> bool:
    """Return whether a run of that id is in `runs` and succeeded; no run has the id None."""
    if run_id is None:
        return False
    wanted = (ds.field("run_id") == run_id) & (ds.field("status") == SUCCEEDED)
    return bool(warehouse.dataset(RUNS).count_rows(filter=wanted))


def _record_failure(warehouse: Warehouse, run: Run, seconds: float, error: BaseException) -> None:
    message = without_credentials(" ".join(f"{type(error).__name__}: {error}".split()))
    try:
        if warehouse.exists(RUNS):
            _append(warehouse, run, seconds, FAILED, message)
    except Exception as second:  # noqa: BLE001  (whatever it is, the step's own error counts)
        LOGGER.warning("the failed run of %s could not be recorded: %s", run.step, second)


def _append(
    warehouse: Warehouse, run: Run, seconds: float, status: str, message: str | None
) -> None:
    """Append the row of `run` with the next number.

    On an object store, which has no lock, another process may take that number first: then the
    next one is tried.
    """
    with warehouse.lock(RUNS), naming(RUNS):
        warehouse.create(RUNS)
        for tries_left in reversed(range(_TRIES)):
            table = DeltaTable(warehouse.path(RUNS))
            sequence = 1 + (table.transaction_version(RUNS) or 0)
            row = _row(run, seconds, status, message, sequence)
            number = CommitProperties(app_transactions=[Transaction(RUNS, sequence)])
            try:
                write_deltalake(table, row, mode="append", commit_properties=number)
                return
            except CommitFailedError:
                if not tries_left:
                    raise


def _row(run: Run, seconds: float, status: str, message: str | None, sequence: int) -> pa.Table:
    row = {
        "run_id": run.run_id,
        "step": run.step,
        "run_date": run.run_date,
        "model_version": run.model_version,
        "inputs": list(run.inputs.items()),
        "rows": list(run.rows.items()),
        "seconds": seconds,
        "status": status,
        "finished_at": dt.datetime.now(dt.UTC),
        "message": message,
        "sequence": sequence,
    }
    return pa.Table.from_pylist([row], schema=TABLES[RUNS].arrow_schema)
