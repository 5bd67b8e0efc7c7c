"""Keep the warehouse small: what is old goes, small files are joined, what nobody reads is deleted.

- Old nights, bad rows of old ingests and old runs go (`jobs.warehouse.removal.retention`): counted,
  so that no clock and no date in the future removes what is needed.
- The small files of every table are joined; files that no version of the last `keep_days` has are
  deleted: those of older versions, and what killed attempts of tasks have left.
- Vectors of texts by versions that are neither champion nor candidate are deleted; they are a
  cache, and computed anew where such a version scores again.
- Model versions that no alias and no night names go (`jobs.versions.retention`), last of all.
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
from jobs.nights.staged import staged_nights
from jobs.settings.model import Settings
from jobs.versions.registry import CANDIDATE, CHAMPION
from jobs.versions.retention import remove_leftovers, remove_versions
from jobs.warehouse.delta import Warehouse, naming
from jobs.warehouse.pointer import published_nights
from jobs.warehouse.removal.retention import remove_nights, remove_rejected_rows, remove_runs
from jobs.warehouse.tables import (
    RECOMMENDATIONS,
    RECOMMENDATIONS_STAGED,
    REJECTED_ROWS,
    RUNS,
    TEXT_VECTORS,
)

# what Delta itself goes by when it, or somebody's own VACUUM, cleans the table
RETENTION = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")


@dataclass(frozen=True)
class Maintained:
    """What was done to a table: what was removed, files joined into how many, files deleted."""

    nights: int
    rows: int
    versions: int
    joined: int
    into: int
    deleted: int


def run(context: Context) -> dict[str, Any]:
    """Maintain every table of the warehouse, and its model versions.

    Raises InputError where there is none.
    """
    start = time.monotonic()
    warehouse = context.warehouse
    with context.recorded("maintain") as record:
        names = warehouse.tables()
        record.inputs = {name: warehouse.version(name) for name in names}
        old = _old_versions(context)
        done = {name: _maintain(warehouse, name, context.settings, old) for name in names}
        removed = _remove_versions(context)
        leftovers = remove_leftovers(warehouse, context.settings.keep_days)
    lines = [
        f"{name:<22} {one.nights:>4} nights {one.rows:>7} rows removed"
        f" {one.joined:>7} files joined into {one.into} {one.deleted:>7} deleted"
        for name, one in done.items()
    ]
    lines.append(f"models: {len(removed)} versions and {leftovers} leftovers removed")
    return {
        "text": "\n".join(lines),
        "seconds": round(time.monotonic() - start, 2),
        "tables": {name: asdict(one) for name, one in done.items()},
        "model_versions": removed,
        "leftovers": leftovers,
    }


def _remove_versions(context: Context) -> list[str]:
    warehouse = context.warehouse

    def of_nights() -> set[str]:
        there, found = warehouse.nights(RECOMMENDATIONS), published_nights(warehouse).published
        made = {one.model_version for night, one in found.items() if night in there}
        return {one for one in made if one} | {n.model_version for n in staged_nights(warehouse)}

    with warehouse.lock(RECOMMENDATIONS_STAGED):  # which a running score holds, with its champion
        return remove_versions(
            warehouse, context.registry, context.settings.keep_versions, of_nights
        )


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
    with warehouse.lock(name), naming(name):
        table = DeltaTable(warehouse.path(name))
        _set_retention(table, settings.keep_days)
        nights = rows = 0
        if name in (RECOMMENDATIONS, RECOMMENDATIONS_STAGED):
            nights = remove_nights(warehouse, table, name, settings.keep_nights)
        elif name == REJECTED_ROWS:
            rows = remove_rejected_rows(warehouse, settings.keep_ingests)
        elif name == RUNS:
            rows = remove_runs(warehouse, table, settings.keep_runs)
        table.update_incremental()
        versions = old_versions if name == TEXT_VECTORS else []
        for version in versions:
            table.delete(f"model_version = '{version}'")
        joined = table.optimize.compact()
        # full: also what no commit ever named
        deleted = table.vacuum(settings.keep_days * 24, dry_run=False, full=True)
    files = joined["numFilesRemoved"], joined["numFilesAdded"], len(deleted)
    return Maintained(nights, rows, len(versions), *files)


def _set_retention(table: DeltaTable, keep_days: int) -> None:
    wanted = dict.fromkeys(RETENTION, f"interval {keep_days} days")
    if not wanted.items() <= table.metadata().configuration.items():
        table.alter.set_table_properties(wanted)
