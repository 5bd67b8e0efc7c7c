"""The Parquet files of a night, which the Spark tasks write themselves.

- Each attempt of a task writes one file with a unique name, and returns one row about it with what
  Delta's log needs. The file belongs to the table once the driver has committed that row. The file
  of an attempt that failed, was killed or came second is never committed.
- Files have row groups of a quarter of a million rows, and all columns but the partition's.
- Delta doesn't see these writes, so the table's CHECKs are enforced here, on every row, before the
  file is closed.
- A failed attempt deletes its file. What a killed one has left is deleted by `maintain`.

Trade-off: executors write through pyarrow's file systems and the driver commits through delta-rs.
Both take credentials from the environment; Spark's settings for object stores don't apply.
"""

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pf
import pyarrow.parquet as pq

from jobs.nights.rows import COLUMNS
from jobs.warehouse.paths import file_system
from jobs.warehouse.tables import RECOMMENDATIONS_STAGED, TABLES
from models.errors import InputError

CHECKS: dict[str, Callable[[pa.Table], Any]] = {
    "rank_from_1": lambda rows: pc.greater_equal(rows["rank"], pa.scalar(1)),
    "score_is_a_number": lambda rows: pc.invert(pc.is_nan(rows["score"])),
}

_FILES: dict[str, pa.DataType] = {
    "path": pa.string(),
    "bytes": pa.int64(),
    "modified": pa.int64(),
    "rows": pa.int64(),
    "stats": pa.string(),
}
FILES_SCHEMA = pa.schema(_FILES)
_TABLE = TABLES[RECOMMENDATIONS_STAGED]
_REQUIRED = [column.name for column in COLUMNS if not column.nullable]
_WITH_STATS = ("user_id", "rank", "score")
_GROUP_ROWS = 1 << 18
_NANOSECONDS_IN_A_MILLISECOND = 1_000_000


@dataclass(frozen=True)
class Destination:
    """Where rows are written: the table's path or URI and the night; with their model version."""

    table: str
    run_date: dt.date
    model_version: str


def written(tables: Iterator[pa.Table], to: Destination) -> Iterator[pa.RecordBatch]:
    """Write `tables` to one new file and yield one row about it, FILES_SCHEMA.

    Where the tables have no rows there is no file, and nothing is yielded. Raises InputError that
    names the first user whose row breaks a check of the table.
    """
    part = _Part(to)
    try:
        for table in tables:
            part.add(table)
        files = part.closed()
    except BaseException:
        part.removed()
        raise
    yield from files


class _Part:
    """One file that is being written; it is created with the first row."""

    def __init__(self, to: Destination) -> None:
        self._files, root = file_system(to.table)
        self._name = f"run_date={to.run_date.isoformat()}/part-{uuid.uuid4()}.zstd.parquet"
        self._path = f"{root}/{self._name}"
        self._night = to.run_date
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._rows = 0
        self._least: dict[str, Any] = {}
        self._most: dict[str, Any] = {}

    def add(self, rows: pa.Table) -> None:
        """Add rows; they are written once there are enough for a row group."""
        if len(rows):
            self._writer = self._writer or self._opened()
            self._waiting.append(rows.cast(COLUMNS) if rows.schema != COLUMNS else rows)
            self._waiting_rows += len(rows)
        if self._waiting_rows >= _GROUP_ROWS:
            self._write()

    def closed(self) -> list[pa.RecordBatch]:
        """Write the remaining rows, close the file and return the row about it, if any."""
        if self._writer is None:
            return []
        self._write()
        self._writer.close()
        info = self._files.get_file_info(self._path)
        row = {
            "path": self._name,
            "bytes": info.size,
            "modified": (info.mtime_ns or 0) // _NANOSECONDS_IN_A_MILLISECOND,
            "rows": self._rows,
            "stats": self._stats(),
        }
        return [pa.RecordBatch.from_pylist([row], schema=FILES_SCHEMA)]

    def removed(self) -> None:
        """Delete the file, where there is one."""
        if self._writer is not None:
            with suppress(OSError, pa.ArrowException):  # the first error is the one to report
                self._writer.close()
            with suppress(OSError):
                self._files.delete_file(self._path)

    def _opened(self) -> pq.ParquetWriter:
        if isinstance(self._files, pf.LocalFileSystem):  # object stores have no folders
            self._files.create_dir(self._path.rpartition("/")[0], recursive=True)
        return pq.ParquetWriter(
            self._path, COLUMNS, filesystem=self._files, compression="zstd", store_schema=False
        )

    def _write(self) -> None:
        if not self._waiting or self._writer is None:
            return
        rows = pa.concat_tables(self._waiting)
        _check(rows, self._night)
        self._writer.write_table(rows, row_group_size=len(rows))
        for name in _WITH_STATS:
            found = pc.min_max(rows[name])
            low, high = found["min"].as_py(), found["max"].as_py()
            self._least[name] = min(self._least.get(name, low), low)
            self._most[name] = max(self._most.get(name, high), high)
        self._rows += len(rows)
        self._waiting, self._waiting_rows = [], 0

    def _stats(self) -> str:
        least, most = self._least, self._most
        if not np.isfinite([least["score"], most["score"]]).all():  # JSON has no infinity
            least, most = ({k: v for k, v in x.items() if k != "score"} for x in (least, most))
        nulls = dict.fromkeys(_REQUIRED, 0)
        return json.dumps(
            {"numRecords": self._rows, "minValues": least, "maxValues": most, "nullCount": nulls}
        )


def _check(rows: pa.Table, night: dt.date) -> None:
    """Raise InputError that names the first user who has a null, or breaks a CHECK."""
    wrong = {f"{name} NOT NULL": rows[name].is_null() for name in _REQUIRED}
    wrong |= {_TABLE.checks[name]: pc.invert(holds(rows)) for name, holds in CHECKS.items()}
    for what, where in wrong.items():
        if pc.any(where).as_py():
            user = rows["user_id"].filter(where)[0].as_py()
            raise InputError(
                f"night {night}, user {user!r}: a row breaks a check of `{_TABLE.name}` ({what})"
            )
