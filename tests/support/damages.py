"""Damages to a warehouse, each with a name: what a disk, a kill or a person can do to its files."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable

Damage = Callable[[Path], None]


def parquet_of(table: Path) -> Path:
    """Return a data file of the table's newest version, the last by name."""
    return table / max(pa.table(DeltaTable(table).get_add_actions())["path"].to_pylist())


def log_entries(table: Path) -> list[Path]:
    """Return the entries of a table's log, oldest first."""
    return sorted((table / "_delta_log").glob("*.json"))


def cut_data(table: Path) -> None:
    """Cut a data file in half, as a full disk or a broken copy does."""
    file = parquet_of(table)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def lose_data(table: Path) -> None:
    """Delete a data file."""
    parquet_of(table).unlink()


def turn_bits(table: Path) -> None:
    """Overwrite the pages of a data file, and leave its end as it is."""
    file = parquet_of(table)
    content = bytearray(file.read_bytes())
    content[8:120] = bytes(112)
    file.write_bytes(content)


def garble_log(table: Path) -> None:
    """Put garbage into the newest log entry."""
    log_entries(table)[-1].write_text('{"commitInfo": {broken', "utf-8")


def empty_log_entry(table: Path) -> None:
    """Leave a log entry without a byte, as a crash of the machine can."""
    log_entries(table)[-1].write_bytes(b"")


def lose_log_entry(table: Path) -> None:
    """Delete a log entry in the middle."""
    log_entries(table)[1].unlink()


def lose_log(table: Path) -> None:
    """Delete the whole log and leave the data."""
    for entry in log_entries(table):
        entry.unlink()
