"""Which rows of the tables go, by number and never by a clock: nights, bad rows, old runs.

- Nights: the newest `keep_nights` that are shown stay, and whatever was staged or published after
  the first of them was. Dates are not compared with each other: one night far in the future takes
  one place, and once a rollback has left it, it goes when that many nights have been published.
- Bad rows: those of the newest `keep_ingests` ingests stay. `runs` says in which order they came.
- Runs: the newest `keep_runs` stay, and of older ones whatever tells which night is visible: every
  publish of, and rollback to, the oldest night that is still there or a later one, and whatever
  has hidden or changed nights since the first of these.

Each is one commit, done again without a change; callers hold the lock of the table.

Trade-off: `runs` no longer says how a model was trained, or which night was published, long ago. A
property of the table says from which number on it is complete, so that `doctor` still tells a row
that was lost.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import SUCCEEDED
from jobs.warehouse.pointer import published_nights
from jobs.warehouse.removal.erasure import rewrite
from jobs.warehouse.tables import RECOMMENDATIONS, REJECTED_ROWS, RUNS

COMPLETE_FROM = "nightrank.runs_complete_from"
_MAKES, _MOVES, _HIDES = ("score", "publish"), ("publish", "rollback"), ("rollback", "forget")

Row = dict[str, Any]


def remove_nights(warehouse: Warehouse, table: DeltaTable, name: str, keep_nights: int) -> int:
    """Remove old nights from a table of nights; return how many they were.

    The visible night is the newest of those that count, so that it always stays. None goes where
    fewer than `keep_nights` are published.
    """
    shown = published_nights(warehouse).shown & warehouse.nights(RECOMMENDATIONS)
    kept = sorted(shown, reverse=True)[:keep_nights]
    if len(kept) < keep_nights:
        return 0
    done = _last_done(_runs(warehouse))
    first = min(done.get(night, 0) for night in kept)
    old = sorted(
        night
        for night in warehouse.nights(name)
        if night < kept[-1] or (night not in shown and done.get(night, first) < first)
    )
    if old:
        dates = ", ".join(f"'{night}'" for night in old)
        table.delete(f"run_date IN ({dates})")
    return len(old)


def remove_rejected_rows(warehouse: Warehouse, keep_ingests: int) -> int:
    """Remove the bad rows of all but the newest `keep_ingests` ingests; return how many they were.

    Those of an ingest that `runs` doesn't know stay: it is under way, or of an earlier release.
    """
    ingests = [row for row in _runs(warehouse) if row["step"] == "ingest" and row["message"]]
    # the last time counts of a source that was ingested twice
    newest = list(dict.fromkeys(row["message"] for row in reversed(ingests)))
    old = ds.field("ingest_id").isin(pa.array(newest[keep_ingests:], pa.string()))
    rows = warehouse.dataset(REJECTED_ROWS)
    count = int(rows.count_rows(filter=old))
    if count:
        rewrite(warehouse, REJECTED_ROWS, rows.scanner(filter=~old))
    return count


def remove_runs(warehouse: Warehouse, table: DeltaTable, keep_runs: int) -> int:
    """Remove the rows of `runs` that nobody needs any more; return how many they were."""
    runs = warehouse.read(RUNS)
    rows: list[Row] = runs.select(["step", "run_date", "status", "sequence"]).to_pylist()
    numbers = [row["sequence"] or 0 for row in rows]
    last = max(numbers, default=0)
    oldest = min(warehouse.nights(RECOMMENDATIONS), default=dt.date.min)
    tells = [_succeeded(row, _MOVES) and row["run_date"] >= oldest for row in rows]
    first = min((number for number, one in zip(numbers, tells, strict=True) if one), default=0)
    kept = [
        one or number > last - keep_runs or (_succeeded(row, _HIDES) and number >= first)
        for row, number, one in zip(rows, numbers, tells, strict=True)
    ]
    if all(kept):
        return 0
    # first: after a kill in between the table may have holes, and has none
    table.alter.set_table_properties(
        {COMPLETE_FROM: str(last - keep_runs + 1)}, raise_if_not_exists=False
    )
    warehouse.overwrite(RUNS, runs.filter(pa.array(kept)))
    return kept.count(False)


def complete_from(table: DeltaTable) -> int:
    """Return the number from which on no row of `runs` was removed."""
    return int(table.metadata().configuration.get(COMPLETE_FROM, 0))


def _runs(warehouse: Warehouse) -> list[Row]:
    """Return the runs that succeeded, in the order of their commits."""
    if not warehouse.exists(RUNS):
        return []
    names = ["step", "run_date", "status", "sequence", "message"]
    rows: list[Row] = warehouse.read(RUNS, columns=names).to_pylist()
    done = [row for row in rows if row["status"] == SUCCEEDED]
    return sorted(done, key=lambda row: row["sequence"] or 0)


def _last_done(runs: Iterable[Row]) -> dict[dt.date, int]:
    """Return the number of the run by which each night was staged or published last."""
    return {row["run_date"]: row["sequence"] or 0 for row in runs if row["step"] in _MAKES}


def _succeeded(row: Row, steps: tuple[str, ...]) -> bool:
    return bool(row["status"] == SUCCEEDED and row["step"] in steps)
