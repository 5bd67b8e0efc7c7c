"""Erases rows from a table for good: from its newest version, its older ones and its log.

- The other rows are written anew, of a table of nights those of each night that has such a row;
  then every file goes that the newest version doesn't have, its change feed's too.
- Delta's log says the least and the greatest value of each file's columns, and what commits asked
  for. Both are taken out of all commits; what a commit says of a night stays. The newest version
  has a checkpoint before that, and older checkpoints and checksums go.
- Each part looks at what is there, so a killed erasure is completed by the next. Whose it is stands
  in a file of the warehouse meanwhile.

Trade-off: no older version of the table can be read any more, and a query of one fails.
"""

import json
from collections.abc import Collection
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pf
from deltalake import DeltaTable, write_deltalake

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.paths import file_system
from jobs.warehouse.tables import TABLES

_LOG = "_delta_log"
_UNDER_WAY = ".forgetting.json"


def erase(warehouse: Warehouse, name: str, column: str, values: Collection[str]) -> None:
    """Erase the rows of the table `name` that have one of `values` in `column`.

    Whatever older versions hold goes too. Does nothing where the table is absent. Takes its lock.
    """
    if not warehouse.exists(name):
        return
    with warehouse.lock(name):
        about = ds.field(column).isin(pa.array(list(values), pa.string()))
        rows = warehouse.dataset(name)
        for condition, predicate in _parts(warehouse, name):
            if rows.count_rows(filter=about & condition):
                rewrite(warehouse, name, rows.scanner(filter=~about & condition), predicate)
        forget_versions(warehouse, name)


def _parts(warehouse: Warehouse, name: str) -> list[tuple[ds.Expression, str | None]]:
    """Return the nights of a table of nights, or all of another, for Arrow and for Delta."""
    if TABLES[name].partition_by != ("run_date",):
        return [(ds.scalar(True), None)]
    nights = sorted(warehouse.nights(name))
    return [(ds.field("run_date") == night, f"run_date = '{night}'") for night in nights]


def rewrite(
    warehouse: Warehouse, name: str, rows: ds.Scanner, predicate: str | None = None
) -> None:
    """Put `rows` in place of those of a table that `predicate` holds for, of all where None.

    The caller holds the table's lock.
    """
    # not DeltaTable.delete, whose files hold columns of a type that DuckDB can't compare
    schema = TABLES[name].arrow_schema
    batches = (batch.select(schema.names).cast(schema) for batch in rows.to_batches())
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    write_deltalake(warehouse.path(name), reader, mode="overwrite", predicate=predicate)


def forget_versions(warehouse: Warehouse, name: str) -> None:
    """Delete all files that only older versions of a table have, and what the log says of values.

    The caller holds the table's lock.
    """
    table = DeltaTable(warehouse.path(name))
    table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    table.update_incremental()
    table.create_checkpoint()
    files, root = file_system(warehouse.path(name))
    newest = f"{table.version():020}"
    for file in files.get_file_info(pf.FileSelector(f"{root}/{_LOG}")):
        old_checkpoint = ".checkpoint" in file.base_name and file.base_name < newest
        if file.base_name.endswith(".crc") or old_checkpoint:
            files.delete_file(file.path)
        elif file.base_name.endswith(".json"):
            _without_values(files, file.path)


def _without_values(files: pf.FileSystem, path: str) -> None:
    with files.open_input_stream(path) as stream:
        before = stream.read()
    actions = [json.loads(line) for line in before.splitlines() if line.strip()]
    after = "".join(f"{json.dumps(_redacted(action))}\n" for action in actions).encode()
    if after != before:
        partial = f"{path.rpartition('/')[0]}/.{path.rpartition('/')[2]}.partial"
        with files.open_output_stream(partial) as stream:
            stream.write(after)
        files.move(partial, path)


def _redacted(action: dict[str, Any]) -> dict[str, Any]:
    found = dict(action)
    for kind in ("add", "remove"):
        if kind in found:
            found[kind] = {key: one for key, one in found[kind].items() if key != "stats"}
    if "commitInfo" in found:
        info = dict(found["commitInfo"])
        info.pop("operationParameters", None)
        found["commitInfo"] = info
    return found


def under_way(warehouse: Warehouse) -> frozenset[str]:
    """Return the users of an erasure that was begun and not completed."""
    files, root = file_system(warehouse.root)
    path = f"{root}/{_UNDER_WAY}"
    if files.get_file_info(path).type != pf.FileType.File:
        return frozenset()
    with files.open_input_stream(path) as stream:
        return frozenset(json.loads(stream.read()))


def remember_under_way(warehouse: Warehouse, users: frozenset[str]) -> None:
    """Write down whose erasure is under way; nobody's any more where `users` is empty."""
    files, root = file_system(warehouse.root)
    path = f"{root}/{_UNDER_WAY}"
    if not users:
        files.delete_file(path)
        return
    with files.open_output_stream(f"{path}.partial") as stream:
        stream.write(json.dumps(sorted(users)).encode())
    files.move(f"{path}.partial", path)
