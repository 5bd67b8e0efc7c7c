"""Every table by itself: its log, its schema and checks, its key, and each byte of its files.

- The log is read entry by entry, since Delta takes one that is empty for a commit that did nothing.
- Data files are read whole: a file whose end is intact may have damaged pages.

Trade-off: a table of gigabytes takes minutes, since every page of it is read.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from jobs.health.finding import Finding
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.migrations import missing_columns, schema_version
from jobs.warehouse.tables import TABLES

_ENTRY = re.compile(r"(\d{20})\.json")
_BACKUP = "restore it from a backup"


def table_findings(warehouse: Warehouse, name: str) -> Iterator[Finding]:
    """Yield what is wrong with the table `name`; nothing where it has never been made."""
    folder = Path(warehouse.path(name))
    log = folder / "_delta_log"
    if not any(log.glob("*.json")) and not any(log.glob("*.parquet")):
        if next(folder.rglob("*.parquet"), None) is not None:
            yield Finding(f"table `{name}`", f"{log} has no entry, but there is data", _BACKUP)
        return
    broken = list(_log_findings(name, log))
    yield from broken
    if any(one.repair is None for one in broken):
        return
    try:
        table = DeltaTable(str(folder))
        yield from _schema_findings(warehouse, name, table)
        files = list(_file_findings(name, folder, table))
    except Exception as error:  # noqa: BLE001  (whatever deltalake makes of a damaged log)
        yield Finding(f"table `{name}`", f"its log can't be read, {_first(error)}", _BACKUP)
        return
    yield from files
    if not files:
        yield from _key_findings(warehouse, name)


def _log_findings(name: str, log: Path) -> Iterator[Finding]:
    entries = {
        int(match[1]): path for path in log.iterdir() if (match := _ENTRY.fullmatch(path.name))
    }
    for number in sorted(
        set(range(min(entries, default=0), max(entries, default=0))) - set(entries)
    ):
        yield Finding(f"table `{name}`", f"log entry {number} is missing", _BACKUP)
    for path in sorted(entries.values()):
        problem = _entry_problem(path)
        if problem:
            yield Finding(f"table `{name}`", f"{path} {problem}", _BACKUP)
    last = log / "_last_checkpoint"
    if last.exists() and not _is_json(last.read_text("utf-8", errors="replace")):
        # a hint that Delta writes anew with the next checkpoint
        yield Finding(
            f"table `{name}`", f"{last} is no JSON", "nightrank doctor --repair", last.unlink
        )


def _entry_problem(path: Path) -> str:
    lines = path.read_text("utf-8", errors="replace").splitlines()
    if not lines:
        return "is empty"
    return "" if all(_is_json(line) for line in lines if line.strip()) else "is no JSON"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _schema_findings(warehouse: Warehouse, name: str, table: DeltaTable) -> Iterator[Finding]:
    declared, place = TABLES[name], f"table `{name}`"
    if schema_version(table) > declared.schema_version:
        yield Finding(place, "it is of a newer release", "install that release of nightrank")
    elif schema_version(table) == declared.schema_version:
        for column in missing_columns(table, declared):
            yield Finding(place, f"it has no column `{column}`", "restore an earlier version of it")
    enforced = table.metadata().configuration
    missing = [one for one in declared.checks if f"delta.constraints.{one}" not in enforced]

    def add() -> None:
        with warehouse.lock(name):
            warehouse.create(name)

    if missing:
        problem = f"its check `{missing[0]}` is gone"
        yield Finding(place, problem, "nightrank doctor --repair", add)


def _file_findings(name: str, folder: Path, table: DeltaTable) -> Iterator[Finding]:
    actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    for action in actions:
        problem = _file_problem(folder / str(action["path"]), action)
        if problem:
            yield Finding(f"table `{name}`", f"{folder / str(action['path'])} {problem}", _BACKUP)


def _file_problem(file: Path, action: dict[str, Any]) -> str:
    if not file.exists():
        return "is missing"
    if file.stat().st_size != action["size_bytes"]:
        return f"has {file.stat().st_size} bytes, the log says {action['size_bytes']}"
    try:
        rows = sum(len(batch) for batch in pq.ParquetFile(file).iter_batches())
    except Exception as error:  # noqa: BLE001  (whatever Arrow makes of a damaged file)
        return f"can't be read, {_first(error)}"
    return "" if action.get("num_records") in (None, rows) else f"has {rows} rows, not as logged"


def _key_findings(warehouse: Warehouse, name: str) -> Iterator[Finding]:
    """Yield a finding where a key stands more than once, which no write of ours makes."""
    key = ", ".join(f'"{column}"' for column in TABLES[name].key)
    table = DeltaTable(warehouse.path(name)).to_pyarrow_dataset()
    if not key or not set(TABLES[name].key) <= set(table.schema.names):
        return
    with duckdb.connect() as connection:
        connection.register("rows", table)
        counts = f"SELECT {key} FROM rows GROUP BY {key} HAVING count(*) > 1"  # noqa: S608
        twice = connection.sql(counts).fetchall()
    if twice:
        yield Finding(
            f"table `{name}`",
            f"{len(twice)} keys stand in it more than once, such as {twice[0]}",
            "restore an earlier version of it",
        )


def _first(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
