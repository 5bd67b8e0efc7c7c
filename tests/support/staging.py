"""A tiny warehouse of three items and staged nights of two users, to publish and to maintain."""

import atexit
import datetime as dt
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from jobs.context import Context
from jobs.nights.staged import StagedNight
from jobs.settings.model import Settings
from jobs.steps import publish, sql
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, TABLES, USERS

NIGHT = dt.date(2026, 1, 5)
NEW_YEAR = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
ODD = "o'dd\n\"😀"  # quotes, a newline, four bytes

Row = tuple[str, int, str, float]
# three items of which c isn't available; ada has seen a, ODD has seen nothing
RIGHT: list[Row] = [("ada", 1, "b", 0.5), (ODD, 1, "a", 0.75), (ODD, 2, "b", 0.5)]


def ingest(warehouse: Warehouse) -> None:
    """Write three items, two users and one interaction."""
    columns: dict[str, Any] = {"attributes": [[]] * 3, "features": [None] * 3}
    items = {"item_id": ["a", "b", "c"], "title": ["Ä", "B\tb", "C"], "text": ["t"] * 3, **columns}
    add(warehouse, ITEMS, {**items, "available": [True, True, False]})
    add(warehouse, USERS, {"user_id": [ODD], "text": ["nurse"], "attributes": [[]]})
    seen: dict[str, Any] = {"user_id": ["ada"], "item_id": ["a"], "value": [5.0], "ts": [NEW_YEAR]}
    add(warehouse, INTERACTIONS, {**seen, "ingest_id": ["1"]})


def ingested(folder: Path) -> Settings:
    """Return the settings of a new warehouse in `folder`, with what `ingest` writes."""
    made = Settings(warehouse=str(folder / "warehouse"))
    shutil.copytree(_ingested_once(), made.warehouse, dirs_exist_ok=True)
    return made


@functools.cache
def _ingested_once() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    ingest(Warehouse(str(folder)))
    return folder


def copied(made: Settings, folder: Path) -> Settings:
    """Copy the folder of a warehouse that a module made once into the `folder` of a test."""
    original = Path(made.warehouse).parent
    shutil.copytree(original, folder, dirs_exist_ok=True)
    paths = {"warehouse": made.warehouse, "reports": made.reports}
    moved = {
        name: str(folder / Path(path).relative_to(original))
        for name, path in paths.items()
        if Path(path).is_relative_to(original)
    }
    return made.model_copy(update=moved)


def add(warehouse: Warehouse, name: str, columns: dict[str, Any]) -> None:
    warehouse.append(name, pa.table(columns, schema=TABLES[name].arrow_schema))


def stage(
    warehouse: Warehouse,
    rows: list[Row],
    night: dt.date = NIGHT,
    version: str = "m1",
    **policy: Any,
) -> None:
    """Commit staged rows as the score step does, metadata and all."""
    same = {"run_date": night, "model_version": version, "reason": "profile"}
    entries = [dict(zip(("user_id", "rank", "item_id", "score"), row, strict=True)) for row in rows]
    schema = TABLES[RECOMMENDATIONS_STAGED].arrow_schema
    inputs = {name: warehouse.version(name) for name in (ITEMS, USERS, INTERACTIONS)}
    ids = {name: warehouse.table_id(name) for name in inputs}
    made_of = StagedNight(night, version, 2, inputs, table_ids=ids, **policy)
    with warehouse.lock(RECOMMENDATIONS_STAGED):
        warehouse.create(RECOMMENDATIONS_STAGED)
        write_deltalake(
            warehouse.path(RECOMMENDATIONS_STAGED),
            pa.Table.from_pylist([{**same, **entry} for entry in entries], schema=schema),
            mode="overwrite",
            predicate=f"run_date = '{night}'",
            commit_properties=CommitProperties(
                custom_metadata={"userMetadata": made_of.metadata()}
            ),
        )


def publish_night(
    settings: Settings, rows: list[Row], night: dt.date = NIGHT, version: str = "m1"
) -> None:
    """Stage rows and publish them."""
    stage(Warehouse(settings.warehouse), rows, night, version)
    publish.run(Context.of(settings), str(night))


def vacuum(warehouse: Warehouse, name: str) -> list[str]:
    """Delete at once what the newest version of a table doesn't have; return the files."""
    table = DeltaTable(warehouse.path(name))
    return table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)


def visible(settings: Settings) -> list[list[object]]:
    """Return what readers see now."""
    query = "SELECT user_id, rank, item_id, score FROM recommendations_latest ORDER BY 1, 2"
    rows: list[list[object]] = sql.run(Context.of(settings), query)["rows"]
    return rows
