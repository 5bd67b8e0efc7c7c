"""A warehouse that version 0.1.0 has written, and tables as a later release might have them."""

import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import sql
from jobs.warehouse.tables import TABLES, AddColumn, Table

# made by version 0.1.0: `ingest` of ml-100k's first 8 users and 60 items and a bad row, two nights
# scored by toy_version's model with k = 5 and published, and a row of active_learning
ARCHIVE = Path(__file__).parents[1] / "tables" / "warehouse-0.1.0.tar.gz"
FIRST, SECOND, THIRD = "2026-01-04", "2026-01-05", "2026-01-06"


def unpacked(folder: Path) -> Settings:
    """Unpack the warehouse below `folder`."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return Settings(warehouse=str(folder / "warehouse"), k=5)


def with_column(name: str, default: str | None = None) -> Table:
    """Return the table `name` as a later release might have it, with a column more."""
    table = TABLES[name]
    schema = table.arrow_schema.append(pa.field("list_id", pa.string()))
    return replace(
        table, arrow_schema=schema, migrations=(*table.migrations, AddColumn("list_id", default))
    )


def rows_of(settings: Settings, query: str) -> list[list[Any]]:
    """Return the rows that `nightrank sql` answers with."""
    rows: list[list[Any]] = sql.run(Context.of(settings), query)["rows"]
    return rows
