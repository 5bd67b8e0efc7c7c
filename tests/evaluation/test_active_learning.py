"""Active learning: which pairs are chosen, and the way of an answer back into interactions."""

import csv
import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import toy_version
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs.cli import main
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.sources.label_sheet import COLUMNS, SHEET
from jobs.steps import active_learning, ingest
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import ACTIVE_LEARNING, INTERACTIONS, ITEMS, REJECTED_ROWS, USERS
from models.errors import InputError
from models.evaluation.active_learning import (
    DIVERSITY,
    Pairs,
    diverse_pairs,
    limit,
    uncertain_pairs,
)

LABELLED_AT = dt.datetime(2026, 1, 5, 12, 30, 0, 250_000, tzinfo=dt.UTC)


def unit_vectors(random: np.random.Generator, n: int) -> np.ndarray:
    vectors = random.standard_normal((n, 3))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(
    st.integers(1, 6), st.integers(1, 8), st.integers(1, 30), st.floats(0, 1), st.integers(0, 999)
)
def test_pairs_are_distinct_unlabelled_spread_and_the_best_left(
    users: int, items: int, count: int, share: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    chances = random.random((users, items)).round(1)
    unlabelled = random.random((users, items)) < share
    vectors = unit_vectors(random, items)
    pool = uncertain_pairs(np.arange(users), chances, unlabelled, items)
    chosen = diverse_pairs(pool, vectors, count, seed)

    pairs = list(zip(chosen.user.tolist(), chosen.item.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) <= count
    assert all(unlabelled[pair] for pair in pairs)
    assert all(p == chances[pair] for pair, p in zip(pairs, chosen.probability, strict=True))
    for rows, every in ((chosen.user, pool.user), (chosen.item, pool.item)):
        assert np.bincount(rows).max(initial=0) <= limit(every, count)
    again = diverse_pairs(pool, vectors, count, seed)
    assert list(zip(again.user.tolist(), again.item.tolist(), strict=True)) == pairs
    refuses_a_better_one(pairs, pool, vectors, count)


def refuses_a_better_one(
    pairs: list[tuple[int, int]], pool: Pairs, vectors: np.ndarray, count: int
) -> None:
    """Check each choice against all that could have been chosen in its place."""
    entropies = dict(
        zip(zip(pool.user.tolist(), pool.item.tolist(), strict=True), pool.uncertainty, strict=True)
    )

    def worth(pair: tuple[int, int], before: list[tuple[int, int]]) -> float:
        nearest = max((float(vectors[pair[1]] @ vectors[item]) for _, item in before), default=0.0)
        return (1 - DIVERSITY) * entropies[pair] - DIVERSITY * max(nearest, 0.0)

    def may_be(before: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return [
            (user, item)
            for user, item in entropies.keys() - set(before)
            if sum(user == other for other, _ in before) < limit(pool.user, count)
            and sum(item == other for _, other in before) < limit(pool.item, count)
        ]

    for place, pair in enumerate(pairs):
        before = pairs[:place]
        best = max(worth(other, before) for other in may_be(before))
        assert worth(pair, before) == pytest.approx(best, abs=1e-6)
    assert len(pairs) == count or not may_be(pairs)


def test_the_uncertain_and_unlike_come_first() -> None:
    vectors = np.array([[1, 0], [0.99, 0.141], [0, 1]], dtype=np.float32)
    pool = Pairs(np.array([0, 1, 2]), np.array([0, 1, 2]), np.array([0.5, 0.51, 0.8]))
    chosen = diverse_pairs(pool, vectors, 2, seed=0)
    assert chosen.item.tolist() == [0, 2]  # 1 is less certain than 2, but nearly the same as 0
    assert chosen.uncertainty.tolist() == pytest.approx([1.0, 0.7219], abs=1e-4)


def test_a_user_enters_with_the_most_uncertain_unlabelled_pairs() -> None:
    chances = np.array([[0.5, 0.1, 0.6, 0.4], [0.9, 0.0, 1.0, 0.9]])
    unlabelled = np.array([[False, True, True, True], [True, False, False, False]])
    pairs = uncertain_pairs(np.array([3, 7]), chances, unlabelled, most=2)
    assert list(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True)) == [
        (3, 2), (3, 3), (7, 0),
    ]  # fmt: skip
    assert pairs.probability.tolist() == [0.6, 0.4, 0.9]


@pytest.fixture
def asking(movielens: Settings) -> Settings:
    """The slice of MovieLens, a toy version as candidate, and reports of its own."""
    ids = [row["item_id"] for row in Warehouse(movielens.warehouse).read(ITEMS).to_pylist()]
    toy_version.champion(movielens, sorted(ids))
    reports = str(Path(movielens.warehouse, "reports"))
    return movielens.model_copy(update={"reports": reports, "label_pairs": 20})


def asked(settings: Settings) -> dict[tuple[str, str], dict[str, Any]]:
    rows = Warehouse(settings.warehouse).read(ACTIVE_LEARNING).to_pylist()
    found = {(row["user_id"], row["item_id"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def interactions(settings: Settings) -> dict[tuple[str, str], tuple[float, dt.datetime]]:
    return {
        (row["user_id"], row["item_id"]): (row["value"], row["ts"])
        for row in Warehouse(settings.warehouse).read(INTERACTIONS).to_pylist()
    }


def fill_in_table(settings: Settings, pair: tuple[str, str], **columns: Any) -> None:
    """Answer as somebody with a Delta writer does."""
    table = DeltaTable(Warehouse(settings.warehouse).path(ACTIVE_LEARNING))
    user, item = pair
    table.update(new_values=columns, predicate=f"user_id = '{user}' AND item_id = '{item}'")


def fill_in_sheet(settings: Settings, answers: dict[tuple[str, str], str]) -> None:
    """Answer as somebody with a spreadsheet does."""
    path = Path(settings.reports) / SHEET
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["value"] = answers.get((row["user_id"], row["item_id"]), row["value"])
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def versions(settings: Settings) -> list[int]:
    warehouse = Warehouse(settings.warehouse)
    return [warehouse.version(name) for name in (ACTIVE_LEARNING, INTERACTIONS, REJECTED_ROWS)]


def test_answers_come_back_as_interactions_once(spark: SparkSession, asking: Settings) -> None:
    before = interactions(asking)
    result = active_learning.run(Context.of(asking))
    rows = asked(asking)
    assert (result["asked"], result["answered"], len(rows)) == (20, 0, 20)
    assert not rows.keys() & before.keys()
    assert all(row["value"] is None and row["title"] for row in rows.values())
    newest = max(time for _, time in before.values())
    assert {row["asked_at"] for row in rows.values()} == {newest}
    assert active_learning.run(Context.of(asking))["reused"]

    by_table, undated, by_sheet, bad = sorted(rows)[:4]
    fill_in_table(asking, by_table, value=4.5, labelled_at=LABELLED_AT)
    fill_in_table(asking, undated, value=2.0)
    fill_in_sheet(asking, {by_sheet: " 3 ", bad: "four"})
    result = ingest.run(Context.of(asking), ACTIVE_LEARNING)
    assert (result["tables"][INTERACTIONS]["new"], result["rejected"]) == (3, 1)
    assert interactions(asking) == before | {
        by_table: (4.5, LABELLED_AT),
        undated: (2.0, rows[undated]["asked_at"]),
        by_sheet: (3.0, rows[by_sheet]["asked_at"]),
    }
    [wrong] = Warehouse(asking.warehouse).read(REJECTED_ROWS).to_pylist()
    assert (wrong["table"], wrong["reason"]) == (INTERACTIONS, "value is not a finite number")

    settled = versions(asking)
    ingest.run(Context.of(asking), ACTIVE_LEARNING)
    assert versions(asking) == settled

    with pytest.raises(InputError, match=r"csv line \d+ has a value that was not ingested"):
        active_learning.run(Context.of(asking))
    fill_in_sheet(asking, {bad: ""})
    result = active_learning.run(Context.of(asking))
    assert (result["asked"], result["answered"], result["reused"]) == (20, 2, False)
    later = asked(asking)
    assert {pair for pair, row in later.items() if row["value"] is not None} == {by_table, undated}
    assert by_sheet not in later
    assert len(later) == 22


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("007,1,Toy Story (1995),0.5,3", r"csv line 2: user '007' and item '1' are no pair of"),
        ("ANSWERED,,0.5,3", r"csv line 2 says '3', table `active_learning` has 4.5"),
        ("HEADER", r"csv: column `item_id` is missing; expected user_id,.*found 'user_id;item"),
    ],
)
def test_a_mangled_sheet_is_refused(
    spark: SparkSession, asking: Settings, line: str, message: str
) -> None:
    active_learning.run(Context.of(asking))
    pair = min(asked(asking))
    fill_in_table(asking, pair, value=4.5)
    text = f"{','.join(COLUMNS)}\n{line.replace('ANSWERED', ','.join(pair))}\n"
    (Path(asking.reports) / SHEET).write_text(
        "user_id;item_id;value\n" if line == "HEADER" else text, "utf-8"
    )
    before = versions(asking)
    with pytest.raises(InputError, match=message):
        ingest.run(Context.of(asking), ACTIVE_LEARNING)
    assert versions(asking) == before


def test_the_command_line_refuses_in_one_line(
    spark: SparkSession, movielens: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--warehouse", movielens.warehouse, "--reports", str(tmp_path)]

    def line(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main([*arguments, *places])
        assert stop.value.code == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "no candidate yet: run `nightrank train` first" in line("active-learning")
    assert "run `nightrank active-learning` first" in line("ingest", ACTIVE_LEARNING)
    toy_version.champion(movielens, ["1"])
    main(["active-learning", "--label-pairs", "3", *places])
    assert "has a value yet: fill in the column `value`" in line("ingest", ACTIVE_LEARNING)


def test_nothing_left_to_ask_is_an_error(asking: Settings) -> None:
    warehouse = Warehouse(asking.warehouse)
    events = warehouse.read(INTERACTIONS).to_pylist()
    items = [row["item_id"] for row in warehouse.read(ITEMS).to_pylist()]
    users = {event["user_id"] for event in events} | {
        row["user_id"] for row in warehouse.read(USERS).to_pylist()
    }
    missing = {(user, item) for user in users for item in items} - interactions(asking).keys()
    rows = [{**events[0], "user_id": user, "item_id": item} for user, item in missing]
    schema = warehouse.read(INTERACTIONS).schema
    warehouse.append(INTERACTIONS, pa.Table.from_pylist(rows, schema=schema))
    with pytest.raises(InputError, match="every pair of a user and an available item is labelled"):
        active_learning.run(Context.of(asking))
