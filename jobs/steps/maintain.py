"""Keep the tables small: old nights go, small files are joined, what nobody reads is deleted.

- A night that is more than `keep_days` older than the newest one goes from `recommendations` and
  from what was staged. The visible night stays, however old it is.
- The small files of every table are joined; files that no version of the last `keep_days` has are
  deleted: those of older versions, and what killed attempts of tasks have left.
- Each table by itself, under its lock. After a kill the next run goes on where this one was.

Trade-off: a night that went can't be rolled back to, and a version of a table that is older than
`keep_days` can't be read any more, so that such a night's lineage names what is gone.
"""

import datetime as dt
import time
from dataclasses import asdict, dataclass
from typing import Any

from deltalake import DeltaTable

from jobs.context import Context
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.pointer import published_nights
from jobs.warehouse.tables import RECOMMENDATIONS, RECOMMENDATIONS_STAGED

# what Delta itself goes by when it, or somebody's own VACUUM, cleans the table
RETENTION = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")


@dataclass(frozen=True)
class Maintained:
    """What was done to a table: nights removed, files joined into how many, files deleted."""

    nights: int
    joined: int
    into: int
    deleted: int


def run(context: Context) -> dict[str, Any]:
    """Maintain every table of the warehouse.

    Raises InputError where there is none.
    """
    start = time.monotonic()
    warehouse = context.warehouse
    with context.recorded("maintain") as record:
        names = warehouse.tables()
        record.inputs = {name: warehouse.version(name) for name in names}
        done = {name: _maintain(warehouse, name, context.settings.keep_days) for name in names}
    lines = [
        f"{name:<22} {one.nights:>4} nights removed {one.joined:>7} files joined into {one.into}"
        f" {one.deleted:>7} deleted"
        for name, one in done.items()
    ]
    return {
        "text": "\n".join(lines),
        "seconds": round(time.monotonic() - start, 2),
        "tables": {name: asdict(one) for name, one in done.items()},
    }


def _maintain(warehouse: Warehouse, name: str, keep_days: int) -> Maintained:
    with warehouse.lock(name):
        table = DeltaTable(warehouse.path(name))
        _set_retention(table, keep_days)
        nights = 0
        if name in (RECOMMENDATIONS, RECOMMENDATIONS_STAGED):
            nights = _remove_nights(warehouse, table, name, keep_days)
        joined = table.optimize.compact()
        # full: also what no commit ever named
        deleted = table.vacuum(keep_days * 24, dry_run=False, full=True)
    return Maintained(nights, joined["numFilesRemoved"], joined["numFilesAdded"], len(deleted))


def _set_retention(table: DeltaTable, keep_days: int) -> None:
    wanted = dict.fromkeys(RETENTION, f"interval {keep_days} days")
    if not wanted.items() <= table.metadata().configuration.items():
        table.alter.set_table_properties(wanted)


def _remove_nights(warehouse: Warehouse, table: DeltaTable, name: str, keep_days: int) -> int:
    """Remove the old nights but the visible one, in one commit; return how many they were."""
    nights = sorted(warehouse.nights(name))
    visible = published_nights(warehouse).visible
    old = [
        night
        for night in nights
        if night < nights[-1] - dt.timedelta(days=keep_days) and night != visible
    ]
    if old:
        dates = ", ".join(f"'{night}'" for night in old)
        table.delete(f"run_date IN ({dates})")
    return len(old)
