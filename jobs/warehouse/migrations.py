"""Brings a table of an earlier release to the schema of this one.

- Each table carries its schema version in the Delta property `nightrank.schema_version`; tables of
  version 0.1.0 have none, which means 1. Delta-rs and Spark keep properties that they don't know.
- The migrations after that version run in order. Each adds a nullable column, fills it in the rows
  that exist where it has a default, and then raises the property.
- Every part of a migration looks whether it is done already, so a killed one is completed by the
  next.

Trade-off: the caller holds the table's lock. An object store has none: of two processes that
migrate a table at the same moment there, one may fail and has to be run again.
"""

import logging

import pyarrow as pa
from deltalake import DeltaTable, Schema

from jobs.warehouse.tables import AddColumn, Table
from models.errors import InputError

LOGGER = logging.getLogger(__name__)

SCHEMA_VERSION = "nightrank.schema_version"


def schema_version(table: DeltaTable) -> int:
    """Return the version of the table's schema."""
    return int(table.metadata().configuration.get(SCHEMA_VERSION, "1"))


def is_outdated(table: DeltaTable, declared: Table) -> bool:
    """Return whether migrations of `declared` haven't run on the table yet.

    Raises InputError where the table's schema is newer than `declared`.
    """
    found = schema_version(table)
    if found > declared.schema_version:
        raise InputError(
            f"table `{declared.name}` at {table.table_uri} has schema version {found}, and this "
            f"release of nightrank knows {declared.schema_version}: install a newer release"
        )
    return found < declared.schema_version


def migrate(table: DeltaTable, declared: Table) -> None:
    """Run the migrations of `declared` that the table lacks; the caller holds the table's lock.

    Raises InputError where the table's schema is newer than `declared`.
    """
    if not is_outdated(table, declared):
        return
    first = schema_version(table)
    for version, migration in enumerate(declared.migrations[first - 1 :], first + 1):
        LOGGER.info(
            "migrating table %s to schema version %d: adding the column %s",
            declared.name,
            version,
            migration.name,
        )
        _add_column(table, declared, migration)
        properties = {SCHEMA_VERSION: str(version)}
        table.alter.set_table_properties(properties, raise_if_not_exists=False)


def missing_columns(table: DeltaTable, declared: Table) -> list[str]:
    """Return the declared columns that the table, at the version that is loaded, doesn't have."""
    there = {column.name for column in table.schema().fields}
    return [name for name in declared.column_names if name not in there]


def _add_column(table: DeltaTable, declared: Table, migration: AddColumn) -> None:
    column = declared.arrow_schema.field(migration.name)
    if column.name in missing_columns(table, declared):
        table.alter.add_columns(Schema.from_arrow(pa.schema([column])).fields)
    if migration.default is not None:
        table.update({column.name: migration.default}, predicate=f"{column.name} IS NULL")
