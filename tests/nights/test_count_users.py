"""The number of users of a night: each once, from interactions and profiles."""

import datetime as dt

import pyarrow as pa
import pytest

from jobs.nights.horizon import count_users, horizon
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TABLES, USERS

DAY = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("seen", "described", "expected"),
    [
        (["u1", "u1", "u1"], None, 1),
        (["u1", "u2", "u1", "u2", "u3"], None, 3),
        (["u1", "u1"], [], 1),
        (["u1", "u1"], ["u1"], 1),
        (["u1", "u1"], ["u2", "u3"], 3),
    ],
)
def test_a_user_counts_once(
    warehouse: Warehouse, seen: list[str], described: list[str] | None, expected: int
) -> None:
    events = [{"user_id": user, "item_id": "a", "value": 1.0, "ts": DAY + dt.timedelta(n),
               "ingest_id": ""} for n, user in enumerate(seen)]  # fmt: skip
    profiles = [{"user_id": user, "text": "", "attributes": []} for user in described or []]
    rows = {INTERACTIONS: events, ITEMS: [], USERS: profiles if described is not None else None}
    for name, found in rows.items():
        if found is not None:
            schema = TABLES[name].arrow_schema
            warehouse.append(name, pa.Table.from_pylist(found, schema=schema))
    versions = {name: warehouse.version(name) for name in rows if warehouse.exists(name)}
    known = horizon(warehouse, versions[INTERACTIONS], DAY.date() + dt.timedelta(30))
    assert count_users(warehouse, versions, known) == expected
