"""Keep the tables small: old nights go, small files are joined, what nobody reads is deleted.

- Of the published nights that no rollback has left, the newest `keep_nights` stay. Whatever is
  older than these goes from `recommendations` and from what was staged. Nights are counted, dates
  are not compared with each other: one night far in the future takes one place, no more.
- The small files of every table are joined; files that no version of the last `keep_days` has are
  deleted: those of older versions, and what killed attempts of tasks have left.
- Vectors of texts by versions that are neither champion nor candidate are deleted; they are a
  cache, and computed anew where such a version scores again.
- Each table by itself, under its lock. After a kill the next run goes on where this one was.

Trade-off: a night that went can't be rolled back to, and a version of a table that is older than
`keep_days` can't be read any more, so that such a night's lineage names what is gone. Where nights
are staged and none is published, none goes.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

from deltalake import DeltaTable

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.versions.registry import CANDIDATE, CHAMPION
from jobs.warehouse.delta import Warehouse, naming
from jobs.warehouse.pointer import published_nights
from jobs.warehouse.tables import RECOMMENDATIONS, RECOMMENDATIONS_STAGED, TEXT_VECTORS

# what Delta itself goes by when it, or somebody's own VACUUM, cleans the table
RETENTION = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")


@dataclass(frozen=True)
class Maintained:
    """What was done to a table: what was removed, files joined into how many, files deleted."""

    nights: int
    versions: int
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
        old = _old_versions(context)
        done = {name: _maintain(warehouse, name, context.settings, old) for name in names}
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


def _old_versions(context: Context) -> list[str]:
    """Return the versions whose vectors nobody needs any more."""
    warehouse, registry = context.warehouse, context.registry
    if not warehouse.exists(TEXT_VECTORS):
        return []
    there = warehouse.partitions(TEXT_VECTORS, "model_version")
    if len(there) < 2:  # MLflow isn't asked, which takes seconds
        return []
    return sorted(there - {registry.version_of(alias) for alias in (CHAMPION, CANDIDATE)})


def _maintain(
    warehouse: Warehouse, name: str, settings: Settings, old_versions: list[str]
) -> Maintained:
    keep_days = settings.keep_days
    with warehouse.lock(name), naming(name):
        table = DeltaTable(warehouse.path(name))
        _set_retention(table, keep_days)
        nights = 0
        if name in (RECOMMENDATIONS, RECOMMENDATIONS_STAGED):
            nights = _remove_nights(warehouse, table, name, settings.keep_nights)
        versions = old_versions if name == TEXT_VECTORS else []
        for version in versions:
            table.delete(f"model_version = '{version}'")
        joined = table.optimize.compact()
        # full: also what no commit ever named
        deleted = table.vacuum(keep_days * 24, dry_run=False, full=True)
    files = joined["numFilesRemoved"], joined["numFilesAdded"], len(deleted)
    return Maintained(nights, len(versions), *files)


def _set_retention(table: DeltaTable, keep_days: int) -> None:
    wanted = dict.fromkeys(RETENTION, f"interval {keep_days} days")
    if not wanted.items() <= table.metadata().configuration.items():
        table.alter.set_table_properties(wanted)


def _remove_nights(warehouse: Warehouse, table: DeltaTable, name: str, keep_nights: int) -> int:
    """Remove the nights before the newest `keep_nights`, in one commit; return how many they were.

    The visible night is the newest of those that count, so that it always stays.
    """
    shown = published_nights(warehouse).shown & warehouse.nights(RECOMMENDATIONS)
    kept = sorted(shown, reverse=True)[:keep_nights]
    if len(kept) < keep_nights:
        return 0
    old = sorted(night for night in warehouse.nights(name) if night < kept[-1])
    if old:
        dates = ", ".join(f"'{night}'" for night in old)
        table.delete(f"run_date IN ({dates})")
    return len(old)
