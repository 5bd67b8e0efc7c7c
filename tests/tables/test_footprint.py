"""What a step needs of memory, and that data which don't fit are refused before they are read."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import train
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.footprint import (
    Size,
    needs_of_evaluation,
    needs_of_training,
    refuse_too_large,
    size_of,
)
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TABLES, USERS
from models.errors import InputError
from models.memory import free_memory

SMALL = Size(interactions=100_000, items=1682, users=943, factors=448)
LARGE = Size(interactions=20_000_000, items=300_000, users=1_000_000, factors=448)


def write_some(warehouse: Warehouse) -> None:
    rows = {
        ITEMS: [
            {"item_id": item, "title": "", "text": "", "attributes": [], "available": True}
            for item in "123"
        ],
        USERS: [{"user_id": "a", "text": "", "attributes": []}],
        INTERACTIONS: [
            {"user_id": user, "item_id": "1", "value": 5.0, "ingest_id": "i",
             "ts": dt.datetime.fromtimestamp(0, dt.UTC)} for user in "abb"
        ],
    }  # fmt: skip
    for name, some in rows.items():
        warehouse.append(name, pa.Table.from_pylist(some, schema=TABLES[name].arrow_schema))


def test_the_size_is_told_by_the_tables(warehouse: Warehouse) -> None:
    assert size_of(warehouse, 448) == Size(0, 0, 0, 448)
    write_some(warehouse)
    assert size_of(warehouse, 448) == Size(interactions=3, items=3, users=2, factors=448)


@pytest.mark.parametrize("needs", [needs_of_training, needs_of_evaluation])
def test_more_data_need_more_and_no_square_of_a_large_catalogue(needs) -> None:  # noqa: ANN001
    small, large = (sum(needs(size).values()) for size in (SMALL, LARGE))
    assert 1e9 < small < 3e9
    assert small < large < 100e9
    twice = sum(needs(replace(LARGE, items=2 * LARGE.items)).values())
    assert large < twice < 2.1 * large


def test_what_does_not_fit_is_refused_with_its_figure() -> None:
    refuse_too_large("train", needs_of_training(SMALL), 16.0)
    with pytest.raises(InputError, match=r"train needs about \d+\.\d GB, and setting `memory_gb` "):
        refuse_too_large("train", needs_of_training(LARGE), 16.0)
    with pytest.raises(InputError, match=r"and there are \d+\.\d free \(GB: .*interactions"):
        refuse_too_large("train", {"interactions": 1e18}, 0.0)


def test_training_refuses_before_it_reads(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_some(warehouse)
    monkeypatch.setattr(train, "read_dataset", None)
    settings = Settings(warehouse=warehouse.root, memory_gb=0.001)
    with pytest.raises(InputError, match=r"train needs about 1\.\d GB"):
        train.run(Context.of(settings))


@pytest.mark.parametrize(
    ("names", "limit"),
    [
        (("memory.max", "memory.current"), True),
        (("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"), True),
        (("memory.max", "memory.current"), False),
    ],
)
def test_a_container_leaves_what_its_limit_says(
    tmp_path: Path, names: tuple[str, str], limit: bool
) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / names[0]).write_text("5000\n" if limit else "max\n", "ascii")
    (tmp_path / names[1]).write_text("2000\n", "ascii")
    free = free_memory(tmp_path)
    assert (free == 3000) == limit
    assert free <= psutil.virtual_memory().total
