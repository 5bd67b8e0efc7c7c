"""Metrics: numbers worked out by hand, brute force, and what holds for any scores."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.evaluation.metrics import (
    Hits,
    area_under_curve,
    calibration_error,
    diversity,
    gini,
    list_overlap,
    new_items,
    novelty,
    popularity_percentile,
    recommendation_counts,
    top_rows,
)

FEW_VALUES = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 2.0])


def hits(flags: list[list[int]], relevant: list[int]) -> Hits:
    """Make hits whose rows don't matter."""
    found = np.array(flags, dtype=bool)
    return Hits(np.zeros(found.shape, dtype=np.int64), found, np.array(relevant))


def test_best_first_and_ties_by_row() -> None:
    scores = np.array([[1.0, 3.0, 3.0, 2.0, 3.0]])
    assert top_rows(scores, np.ones((1, 5), bool), 4).tolist() == [[1, 2, 4, 3]]


def test_what_is_not_allowed_is_not_ranked_and_short_lists_end_in_minus_one() -> None:
    scores = np.array([[9.0, 1.0, 8.0], [1.0, 2.0, 3.0]])
    allowed = np.array([[False, True, False], [False, False, False]])
    assert top_rows(scores, allowed, 4).tolist() == [[1, -1, -1, -1], [-1, -1, -1, -1]]


@given(
    data=st.data(),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 12)),
    k=st.integers(1, 14),
)
def test_lists_equal_those_of_a_plain_sort(
    data: st.DataObject, shape: tuple[int, int], k: int
) -> None:
    scores = data.draw(hnp.arrays(np.float64, shape, elements=FEW_VALUES))
    allowed = data.draw(hnp.arrays(np.bool_, shape))
    expected = []
    for row, may in zip(scores, allowed, strict=True):
        order = sorted((item for item in range(len(row)) if may[item]), key=lambda i: (-row[i], i))
        expected.append((order + [-1] * k)[:k])
    assert top_rows(scores, allowed, k).tolist() == expected


def test_ndcg_by_hand() -> None:
    found = hits([[1, 0, 1], [0, 0, 0], [1, 1, 1]], [2, 1, 9])
    second_place = 1 + 1 / math.log2(3)
    assert found.ndcg() == pytest.approx([1.5 / second_place, 0.0, 1.0])


def test_recall_reciprocal_rank_and_hit_by_hand() -> None:
    found = hits([[0, 1, 1], [0, 0, 0]], [10, 2])
    assert found.recall() == pytest.approx([2 / 3, 0.0])
    assert found.reciprocal_rank() == pytest.approx([0.5, 0.0])
    assert found.hit().tolist() == [1.0, 0.0]


@given(
    flags=st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=6),
    more=st.integers(0, 9),
)
def test_every_metric_of_a_user_lies_between_0_and_1(flags: list[list[bool]], more: int) -> None:
    found = hits(flags, [sum(row) + more for row in flags])
    for values in (found.ndcg(), found.recall(), found.reciprocal_rank(), found.hit()):
        assert np.all((values >= 0) & (values <= 1 + 1e-12))


@given(st.lists(st.booleans(), min_size=4, max_size=4), st.integers(0, 2))
def test_a_hit_further_up_never_lowers_ndcg(flags: list[bool], place: int) -> None:
    moved = [*flags]
    moved[place], moved[place + 1] = moved[place + 1], moved[place]
    before, after = hits([flags], [3]).ndcg()[0], hits([moved], [3]).ndcg()[0]
    assert (after >= before) == (moved[place] >= flags[place])


def test_two_lists_overlap_in_what_both_have() -> None:
    lists = np.array([[0, 1], [0, 2], [0, 1]])
    counts = np.bincount(lists.ravel(), minlength=4)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([len({*lists[a]} & {*lists[b]}) / 2 for a, b in pairs])
    assert list_overlap(counts, 3) == pytest.approx(expected)
    assert list_overlap(np.array([3, 3]), 3) == 1.0
    assert list_overlap(np.array([1, 1]), 1) == list_overlap(np.zeros(2, np.int64), 3) == 0.0


def test_gini_is_0_for_equals_and_high_for_one_alone() -> None:
    assert gini(np.array([2, 2, 2, 2])) == pytest.approx(0.0)
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)
    assert gini(np.zeros(3, dtype=np.int64)) == 0.0


def test_counts_leave_out_missing_places() -> None:
    assert recommendation_counts(np.array([[0, 2], [2, -1]]), 4).tolist() == [1, 0, 2, 0]


def test_popularity_and_novelty_by_hand() -> None:
    popularity = np.array([8, 4, 4, 0])
    rows = np.array([[0, 1], [3, -1]])
    assert popularity_percentile(rows, popularity) == pytest.approx((1 + 0.5 + 0) / 3)
    assert novelty(rows, popularity, n_users=8) == pytest.approx((0 + 1 + 3) / 3)
    assert new_items(rows, popularity) == pytest.approx(1 / 3)


def test_diversity_by_hand() -> None:
    vectors = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]], dtype=np.float32)
    assert diversity(np.array([[0, 1]]), vectors) == pytest.approx(0.0)
    assert diversity(np.array([[0, 2]]), vectors) == pytest.approx(1.0)
    assert diversity(np.array([[0, 1, 2], [1, -1, -1]]), vectors) == pytest.approx(2 / 3)


def test_area_under_curve_by_hand_and_with_ties() -> None:
    labels = np.array([True, True, False, False])
    assert area_under_curve(np.array([4.0, 2.0, 3.0, 1.0]), labels) == pytest.approx(0.75)
    assert area_under_curve(np.ones(4), labels) == pytest.approx(0.5)
    assert area_under_curve(np.ones(2), np.array([True, True])) is None


def test_calibration_error_by_hand() -> None:
    said = np.array([0.25, 0.25, 0.25, 0.25, 1.0, 1.0])
    labels = np.array([True, False, False, False, True, False])
    assert calibration_error(said, labels) == pytest.approx((4 * 0 + 2 * 0.5) / 6)
