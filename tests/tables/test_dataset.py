"""The tables as arrays: orders, versions, and the same arrays whatever files the rows lie in."""

import datetime as dt
import shutil
import tempfile
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import toy_version
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.warehouse.dataset import Dataset, read_dataset, read_training_data
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TABLES, USERS
from models.errors import InputError

ROWS = [("b", "x", 1.0, 5.0), ("b", "9", 2.0, 5.0), ("a", "9", 4.0, 5.0), ("a", "10", 3.0, 1.5)]


def write(warehouse: Warehouse, name: str, rows: list[dict[str, Any]]) -> None:
    warehouse.append(name, pa.Table.from_pylist(rows, schema=TABLES[name].arrow_schema))


def write_items(warehouse: Warehouse, *ids: str) -> None:
    write(warehouse, ITEMS, [
        {"item_id": id_, "title": f"T{id_}", "text": "", "attributes": [("genres", "War")],
         "available": id_ != "9"} for id_ in ids
    ])  # fmt: skip


def write_interactions(warehouse: Warehouse, rows: list[tuple[str, str, float, float]]) -> None:
    write(warehouse, INTERACTIONS, [
        {"user_id": user, "item_id": item, "value": value, "ingest_id": "i",
         "ts": dt.datetime.fromtimestamp(time, dt.UTC)} for user, item, value, time in rows
    ])  # fmt: skip


def arrays(dataset: Dataset) -> list[list[float]]:
    events = dataset.interactions
    return [list(column) for column in (events.user, events.item, events.value, events.time)]


def test_rows_follow_the_catalogue_and_the_clock(warehouse: Warehouse) -> None:
    write_items(warehouse, "x", "10", "9")
    write_interactions(warehouse, [("b", "x", 1.0, 6.0), *ROWS[1:]])
    write(warehouse, USERS, [
        {"user_id": "b", "text": "a baker", "attributes": [("age", "30")]},
        {"user_id": "idle", "text": "who did nothing yet", "attributes": []},
    ])  # fmt: skip
    dataset = read_dataset(warehouse)
    assert dataset.catalogue.item_ids == ("9", "10", "x")
    assert dataset.catalogue.titles == ("T9", "T10", "Tx")
    assert dataset.catalogue.available.tolist() == [False, True, True]
    assert dataset.catalogue.attributes == ({"genres": "War"},) * 3
    assert dataset.user_ids == ("a", "b", "idle")
    assert dataset.profiles == ("", "a baker", "who did nothing yet")
    assert dataset.user_attributes == ({}, {"age": "30"}, {})
    # by time; at the same time and item by user row
    assert arrays(dataset) == [[0, 0, 1, 1], [1, 0, 0, 2], [3, 4, 2, 1], [1.5, 5, 5, 6]]
    assert (dataset.interactions.n_users, dataset.interactions.n_items) == (3, 3)
    assert dataset.interactions.user.dtype == np.int64


def test_versions_are_pinned_and_handed_back(warehouse: Warehouse) -> None:
    write_items(warehouse, "9", "10", "x")
    write_interactions(warehouse, ROWS[:1])
    first = read_dataset(warehouse)
    write_interactions(warehouse, ROWS[1:])
    assert arrays(read_dataset(warehouse, first.versions)) == arrays(first)
    assert len(read_dataset(warehouse).interactions) == len(ROWS)
    assert first.versions == {ITEMS: 1, INTERACTIONS: 2}


def test_missing_data_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(InputError, match="table `interactions` not found"):
        read_dataset(warehouse)
    write_items(warehouse, "9")
    write_interactions(warehouse, ROWS[:1])
    with pytest.raises(InputError, match=r"has item 'x', which `items` version 1 lacks"):
        read_dataset(warehouse)


def read_in_parts(rows: list[tuple[str, str, float, float]], size: int) -> list[list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(folder)
        write_items(warehouse, "x", "10", "9")
        for start in range(0, len(rows), size):
            write_interactions(warehouse, rows[start : start + size])
        return arrays(read_dataset(warehouse))


@settings(max_examples=15)
@given(st.permutations(ROWS), st.integers(1, len(ROWS)))
def test_the_layout_of_the_files_does_not_matter(
    rows: list[tuple[str, str, float, float]], size: int
) -> None:
    assert read_in_parts(rows, size) == read_in_parts(ROWS, len(ROWS))


def test_tables_made_anew_are_other_data_though_their_versions_are_the_same(
    warehouse: Warehouse,
) -> None:
    write_items(warehouse, "x", "9", "10")
    write_interactions(warehouse, ROWS)
    before = read_dataset(warehouse)
    manifest = toy_version.manifest("v", [])
    manifest = replace(manifest, tables=before.versions, contents=before.contents)
    assert read_training_data(warehouse, manifest).contents == before.contents
    for name in (ITEMS, INTERACTIONS):
        shutil.rmtree(warehouse.path(name))
    write_items(warehouse, "x", "9", "10")
    write_interactions(warehouse, [("other", *row[1:]) for row in ROWS])
    after = read_dataset(warehouse)
    assert (after.versions, len(after.interactions)) == (before.versions, len(before.interactions))
    assert after.contents != before.contents
    with pytest.raises(InputError, match="made anew since: run `nightrank train`"):
        read_training_data(warehouse, manifest)
