"""The least value that says an item was had, as `interactions` and the setting say it."""

from pathlib import Path
from typing import Any

from staging import NEW_YEAR, add, ingested

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.kinds import largest_kind, remember_largest, with_had_from
from jobs.warehouse.tables import INTERACTIONS


def test_the_largest_kind_belongs_to_a_version_of_the_table(tmp_path: Path) -> None:
    settings = ingested(tmp_path)
    warehouse = Warehouse(settings.warehouse)
    before = {INTERACTIONS: warehouse.version(INTERACTIONS)}
    assert with_had_from(settings, warehouse, before) == settings  # ratings: any counts
    remember_largest(warehouse, 3.0)
    remember_largest(warehouse, 5.0)
    after = {INTERACTIONS: warehouse.version(INTERACTIONS)}
    remember_largest(warehouse, 1.0)
    assert warehouse.version(INTERACTIONS) == after[INTERACTIONS]
    assert with_had_from(settings, warehouse, before).had_from == 0.0
    assert with_had_from(settings, warehouse, after).had_from == 5.0
    told = settings.model_copy(update={"had_from": 1.0})
    assert with_had_from(told, warehouse, after).had_from == 1.0


def test_what_is_kept_survives_rows_and_is_no_change_of_users(tmp_path: Path) -> None:
    warehouse = Warehouse(ingested(tmp_path).warehouse)
    before = warehouse.version(INTERACTIONS)
    remember_largest(warehouse, 5.0)
    bought: dict[str, Any] = {"user_id": ["eve"], "item_id": ["b"], "value": [5.0]}
    add(warehouse, INTERACTIONS, {**bought, "ts": [NEW_YEAR], "ingest_id": ["2"]})
    assert largest_kind(warehouse) == 5.0
    newest = warehouse.version(INTERACTIONS)
    assert warehouse.changed(INTERACTIONS, before, newest, "user_id") == {"eve"}
    assert warehouse.changed(INTERACTIONS, before, newest - 1, "user_id") == set()
