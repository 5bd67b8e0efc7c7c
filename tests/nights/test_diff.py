"""What changed between two nights, by lists that can be checked by eye, and by plain sets."""

import datetime as dt
import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from staging import NIGHT, ODD, RIGHT, Row, ingested, publish_night

from jobs import cli
from jobs.context import Context
from jobs.nights.comparison import compare
from jobs.settings.model import Settings
from jobs.steps.history import diff
from jobs.warehouse.tables import ITEMS, RECOMMENDATIONS
from models.errors import InputError

LATER = NIGHT + dt.timedelta(days=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Two nights of the same users, whose lists have the same items in another order."""
    made = ingested(tmp_path)
    turned: list[Row] = [("ada", 1, "b", 0.25), (ODD, 1, "b", 0.75), (ODD, 2, "a", 0.5)]
    for night, rows in ((NIGHT, RIGHT), (LATER, turned)):
        publish_night(made, rows, night)
    return made


def compared(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, object]:
    rows = [
        {"run_date": night, "user_id": user, "item_id": item}
        for night, lists in ((NIGHT, before), (LATER, after))
        for user, items in lists.items()
        for item in items
    ]
    schema = {"run_date": pa.date32(), "user_id": pa.string(), "item_id": pa.string()}
    with duckdb.connect() as tables:
        tables.register(RECOMMENDATIONS, pa.Table.from_pylist(rows, schema=pa.schema(schema)))
        tables.register(ITEMS, pa.table({"item_id": ["a", "b"], "title": ["Ä", "B"]}))
        found = compare(tables, NIGHT, LATER)
    return {
        **{name: value for name, value in vars(found).items() if name != "items"},
        "items": [tuple(vars(item).values()) for item in found.items],
        "entered": found.items_entered,
        "left": found.items_left,
    }


def test_users_and_items_that_come_and_go() -> None:
    before = {"ada": ["a", "b"], "bob": ["a", "c"], "eve": ["a"]}
    after = {"ada": ["b", "a"], "bob": ["d", "a"], "new": ["d", "b"]}
    assert compared(before, after) == {
        "users": 2, "users_entered": 1, "users_left": 1, "users_changed": 1,
        "entries_entered": 1, "entries_left": 1, "churn": 1 / 4, "mean_overlap": 3 / 4,
        "items": [("d", "", 0, 2), ("a", "Ä", 3, 2), ("b", "B", 1, 2), ("c", "", 1, 0)],
        "entered": ["d"], "left": ["c"],
    }  # fmt: skip


def test_nobody_in_both_nights() -> None:
    found = compared({"ada": ["a"]}, {"bob": ["a"]})
    assert (found["users"], found["churn"], found["mean_overlap"]) == (0, 0.0, 0.0)
    assert found["items"] == []


lists = st.dictionaries(
    st.sampled_from("uvwx"), st.lists(st.sampled_from("abcde"), min_size=1, unique=True)
)


@hypothesis_settings(max_examples=40)
@given(before=lists, after=lists)
def test_figures_are_those_of_plain_sets(
    before: dict[str, list[str]], after: dict[str, list[str]]
) -> None:
    found = compared(before, after)
    both = [(set(before[user]), set(after[user])) for user in before.keys() & after.keys()]
    assert found["users_changed"] == sum(old != new for old, new in both)
    assert found["entries_entered"] == sum(len(new - old) for old, new in both)
    overlaps = [len(old & new) / max(len(old), len(new)) for old, new in both]
    assert found["mean_overlap"] == pytest.approx(sum(overlaps) / max(1, len(overlaps)))
    old_items = {item for items in before.values() for item in items}
    new_items = {item for items in after.values() for item in items}
    assert set(found["entered"]) == new_items - old_items  # type: ignore[call-overload]
    assert set(found["left"]) == old_items - new_items  # type: ignore[call-overload]


def test_another_order_is_no_change(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["diff", str(NIGHT), str(LATER), "--warehouse", settings.warehouse]
    cli.main([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["users"], found["users_changed"], found["mean_overlap"]) == (2, 0, 1.0)
    cli.main(words)
    assert "users_changed" in capsys.readouterr().out


def test_a_night_that_is_not_there_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"night 2026-01-09 has no rows.*nights: {NIGHT}, {LATER}"):
        diff.run(Context.of(settings), str(NIGHT), "2026-01-09")
    with pytest.raises(InputError, match="no tables under"):
        diff.run(Context.of(Settings(warehouse=str(tmp_path / "w"))), str(NIGHT), str(LATER))
