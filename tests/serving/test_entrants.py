"""Nobody whose list could change is left out, whatever the rounding; few are ranked for nothing."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.arrays import Factors, Rows
from models.serving.entrants import Entrants
from models.serving.ranker import Ranker


def rows_of(*items: int) -> Rows:
    return np.array(items, dtype=np.int64)


def test_the_answer_is_visible_by_eye() -> None:
    items = np.array([[1, 0], [0, 1], [2, 0], [0, 3]], dtype=np.float32)
    users = np.array([[1, 0], [0, 1], [1, 1], [1, 1]], dtype=np.float32)
    seen = [rows_of(), rows_of(), rows_of(), rows_of(3)]
    entrants = Entrants(items, rows_of(2, 3), 1)
    found = entrants.may_enter(users, seen, np.array([2.5, 2.5, 3.0, 2.5]))
    assert found.tolist() == [False, True, True, False]  # an equal score may; a seen item can't


def test_who_has_no_floor_is_ranked_and_nobody_else_where_nothing_enters() -> None:
    users = np.ones((2, 2), dtype=np.float32)
    for rows in (rows_of(), rows_of(0)):
        entrants = Entrants(np.zeros((1, 2), dtype=np.float32), rows, 8)
        found = entrants.may_enter(users, [rows_of(), rows_of(0)], np.array([np.nan, 0.5]))
        assert found.tolist() == [True, False]


def top(
    items: Factors, candidates: Rows, users: Factors, seen: list[Rows], k: int
) -> tuple[Factors, Rows]:
    mask = np.isin(np.arange(len(items)), candidates)
    return Ranker(Path("none"), items, mask, 4, 8, 1).top_k(users, seen, k)


@settings(max_examples=200)
@given(data=st.data())
def test_a_list_that_changes_is_never_missed(data: st.DataObject) -> None:
    """Many scores are equal, or of sizes at which floats hardly differ; none underflows."""
    draw = data.draw
    count, dim, k = draw(st.integers(2, 20)), draw(st.integers(1, 70)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offset = draw(st.sampled_from([0.0, 1.0, 1e4]))
    shape = (count + 5, dim)
    noise = random.standard_normal(shape) if draw(st.booleans()) else random.integers(-1, 2, shape)
    vectors = (noise * draw(st.sampled_from([1.0, 1e-4, 1e-18])) + offset).astype(np.float32)
    vectors[0] = vectors[1]
    items, users = vectors[:count], vectors[count:]
    seen = [np.flatnonzero(random.random(count) < 0.2) for _ in users]
    new = rows_of(0, *draw(st.lists(st.integers(1, count - 1), max_size=3, unique=True)))
    old = np.setdiff1d(np.arange(count), new)
    before, after = (top(items, some, users, seen, k) for some in (old, np.arange(count)))
    floors = np.where(np.isneginf(before[0][:, -1]), np.nan, before[0][:, -1]).astype(np.float64)
    found = Entrants(items, new, draw(st.integers(1, 9))).may_enter(users, seen, floors)
    changed = (before[1] != after[1]).any(axis=1) | (before[0] != after[0]).any(axis=1)
    assert not (changed & ~found).any()


def test_few_are_ranked_for_nothing() -> None:
    random = np.random.default_rng(0)
    users, items = (random.standard_normal((n, 64)).astype(np.float32) for n in (500, 400))
    seen = [rows_of()] * len(users)
    before = top(items, np.arange(399), users, seen, 10)
    after = top(items, np.arange(400), users, seen, 10)
    floors = before[0][:, -1].astype(np.float64)
    found = Entrants(items, rows_of(399), 64).may_enter(users, seen, floors)
    assert 0 < found.sum() < 40  # 10 of 400 items are in a list: about 12 of 500 users
    assert found.tolist() == (before[1] != after[1]).any(axis=1).tolist()
