"""Tables of an earlier release: migrated once, whoever opens them, and refused when too new."""

import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake
from old_warehouse import SECOND, rows_of, with_column

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import publish, sql
from jobs.warehouse import delta
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.migrations import SCHEMA_VERSION
from jobs.warehouse.tables import (
    ITEMS,
    RECOMMENDATIONS,
    RECOMMENDATIONS_STAGED,
    RUNS,
    TABLES,
    Table,
)
from models.errors import InputError


def versions(settings: Settings) -> dict[str, int]:
    return {
        name: DeltaTable(f"{settings.warehouse}/{name}").version()
        for name in Warehouse(settings.warehouse).tables()
    }


def test_opening_an_old_warehouse_whose_schema_is_ours_writes_nothing(old: Settings) -> None:
    before = versions(old)
    assert set(before) == set(TABLES)
    for name in (RUNS, RECOMMENDATIONS, RECOMMENDATIONS_STAGED):
        del before[name]  # which have a column more since then
    for name in before:
        assert SCHEMA_VERSION not in DeltaTable(f"{old.warehouse}/{name}").metadata().configuration
        assert rows_of(old, f"SELECT count(*) > 0 FROM {name}") == [[True]]
        with Warehouse(old.warehouse).lock(name):
            pass
    after = versions(old)
    assert {name: after[name] for name in before} == before


def test_a_migration_runs_once_and_keeps_the_rows(old: Settings, later: None) -> None:
    warehouse = Warehouse(old.warehouse)
    path = warehouse.path(RECOMMENDATIONS)
    before = DeltaTable(path)
    rows = before.to_pyarrow_table().sort_by("item_id").to_pylist()
    found = warehouse.read(RECOMMENDATIONS).sort_by("item_id").to_pylist()
    key = lambda row: (row["run_date"], row["user_id"], row["rank"])  # noqa: E731
    added = {"reason_items": None, "list_id": "all"}
    assert sorted(found, key=key) == sorted(({**row, **added} for row in rows), key=key)
    after = DeltaTable(path)
    assert after.metadata().configuration[SCHEMA_VERSION] == "3"
    assert after.protocol() == before.protocol()
    assert after.version() == before.version() + 5  # two columns, a default, two schema versions
    with warehouse.lock(RECOMMENDATIONS):
        warehouse.create(RECOMMENDATIONS)
    assert warehouse.version(RECOMMENDATIONS) == after.version()


def test_an_older_version_of_a_table_reads_as_null_what_it_lacks(
    old: Settings, later: None
) -> None:
    warehouse = Warehouse(old.warehouse)
    newest = DeltaTable(warehouse.path(RECOMMENDATIONS)).version()
    assert warehouse.version(RECOMMENDATIONS) > newest
    found = warehouse.read(RECOMMENDATIONS, newest)
    assert found.schema == TABLES[RECOMMENDATIONS].arrow_schema
    assert found["list_id"].null_count == found.num_rows > 0


@pytest.mark.parametrize("done", ["column", "default"])
def test_a_migration_that_was_killed_is_completed(old: Settings, later: None, done: str) -> None:
    warehouse = Warehouse(old.warehouse)
    table = DeltaTable(warehouse.path(RECOMMENDATIONS))
    field = delta.Schema.from_arrow(TABLES[RECOMMENDATIONS].arrow_schema).fields[-1]
    table.alter.add_columns(field)
    if done == "default":
        table.update({"list_id": "'all'"}, predicate="list_id IS NULL")
    found = warehouse.read(RECOMMENDATIONS)
    assert found["list_id"].unique().to_pylist() == ["all"]
    assert DeltaTable(table.table_uri).metadata().configuration[SCHEMA_VERSION] == "3"


OPENER = """
import sys
from dataclasses import replace
import pyarrow as pa
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import RECOMMENDATIONS, TABLES, AddColumn

table = TABLES[RECOMMENDATIONS]
schema = table.arrow_schema.append(pa.field("list_id", pa.string()))
migrations = (*table.migrations, AddColumn("list_id", "'all'"))
more = replace(table, arrow_schema=schema, migrations=migrations)
TABLES[RECOMMENDATIONS] = more
print("ready", flush=True)
input()
print(Warehouse(sys.argv[1]).version(RECOMMENDATIONS))
"""


def test_processes_that_open_at_once_migrate_once(old: Settings) -> None:
    before = versions(old)[RECOMMENDATIONS]
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, old.warehouse], cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("go\n")
        opener.stdin.flush()
    opened = [opener.communicate(timeout=60)[0] for opener in openers]
    assert opened == [f"{before + 5}\n"] * 2


def test_a_table_of_a_newer_release_is_refused(old: Settings) -> None:
    warehouse = Warehouse(old.warehouse)
    table = DeltaTable(warehouse.path(RUNS))
    table.alter.set_table_properties({SCHEMA_VERSION: "7"}, raise_if_not_exists=False)
    message = r"table `runs` at .* has schema version 7, and this release of nightrank knows 2"
    with pytest.raises(InputError, match=message):
        sql.run(Context.of(old), "SELECT 1")
    with pytest.raises(InputError, match=message):
        publish.run(Context.of(old), SECOND)
    with pytest.raises(InputError, match=message), warehouse.lock(RUNS):
        pass
    assert DeltaTable(warehouse.path(RUNS)).version() == table.version()


def test_a_table_that_lost_a_column_is_named(old: Settings) -> None:
    path = f"{old.warehouse}/{RECOMMENDATIONS}"
    rows = DeltaTable(path).to_pyarrow_table().drop_columns(["reason"])
    write_deltalake(path, rows, mode="overwrite", schema_mode="overwrite")
    for step in (
        lambda: sql.run(Context.of(old), "SELECT 1"),
        lambda: publish.run(Context.of(old), SECOND),
    ):
        with pytest.raises(
            InputError, match=r"table `recommendations` under .* has no column `reason`"
        ):
            step()


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_migrations_add_columns_that_are_declared_and_may_be_null(table: Table) -> None:
    for migration in table.migrations:
        assert table.arrow_schema.field(migration.name).nullable


def test_the_change_feed_survives_a_migration(
    old: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(old.warehouse)
    before = warehouse.version(ITEMS)
    monkeypatch.setitem(TABLES, ITEMS, with_column(ITEMS))
    after = warehouse.version(ITEMS)
    assert after == before + 2
    assert warehouse.changed(ITEMS, before, after, "item_id") == set()
