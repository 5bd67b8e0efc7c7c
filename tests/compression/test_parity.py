"""Parity of two models that agree, disagree, or answer the other way round."""

import numpy as np
import pytest

from models.data.interactions import History, Interactions
from models.data.splits import make_split
from models.evaluation.parity import Parity, agreement, largest_error, mean_cosine, overlap
from models.evaluation.question import Question, ask
from models.evaluation.texts_alone import withheld_by_popularity, withheld_items

USERS, ITEMS = 20, 30


def question() -> Question:
    pairs = np.random.default_rng(0).permutation(USERS * ITEMS)[:300]
    interactions = Interactions(
        pairs // ITEMS, pairs % ITEMS, np.full(300, 5.0), np.arange(300.0), USERS, ITEMS
    )
    return ask(make_split("warm", interactions, 4.0).final, [""] * USERS)


def by_item(order: int):  # noqa: ANN201
    """Score every item by its number, times `order`."""

    def score(histories: list[History], _profiles: list[str]) -> np.ndarray:
        return np.tile(order * np.arange(ITEMS, dtype=np.float32), (len(histories), 1))

    return score


def test_a_model_agrees_with_itself() -> None:
    found = agreement(question(), by_item(1), by_item(1), seed=0)
    assert (found.relative_loss, found.overlap) == (0.0, 1.0)
    assert found.difference == (0.0, 0.0, 0.0)
    assert found.rank_correlation == pytest.approx(1.0)


def test_the_opposite_order_correlates_negatively() -> None:
    found = agreement(question(), by_item(1), by_item(-1), seed=0)
    assert found.rank_correlation == pytest.approx(-1.0)
    assert found.overlap < 0.3
    low, mean, high = found.difference
    assert low <= mean <= high
    assert mean == pytest.approx(found.ndcg_shipped - found.ndcg_fine_tuned)


def test_the_worst_question_decides_and_the_table_shows_both() -> None:
    same = agreement(question(), by_item(1), by_item(1), seed=0)
    other = agreement(question(), by_item(1), by_item(-1), seed=0)
    parity = Parity({"validation": same, "texts_alone": other}, 0.9, 0.1)
    assert parity.relative_loss == max(0.0, other.relative_loss)
    assert parity.metrics()["texts_alone_overlap"] == other.overlap
    head, *lines = parity.table().splitlines()
    assert [line.split()[0] for line in lines] == ["validation", "texts_alone"]
    assert {len(head)} == {len(line) for line in lines}


def test_overlap_counts_shared_items_in_any_order() -> None:
    ours, theirs = (
        np.array([[1, 2, 3, 4], [5, 6, -1, -1]]),
        np.array([[4, 9, 1, 8], [6, 5, -1, -1]]),
    )
    assert overlap(ours, theirs) == pytest.approx((0.5 + 1.0) / 2)


def test_errors_of_vectors_are_distances_and_cosines() -> None:
    vectors = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    shipped = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    assert largest_error(vectors, shipped) == pytest.approx(2**0.5)
    assert mean_cosine(vectors, shipped) == pytest.approx(0.5)


def test_a_fifth_of_the_known_items_is_withheld() -> None:
    known = np.arange(100) % 2 == 0
    withheld = withheld_items(known, seed=0)
    assert withheld.sum() == 10
    assert not (withheld & ~known).any()


def test_one_of_every_five_neighbours_in_popularity_is_withheld_in_training() -> None:
    item = np.repeat(np.arange(20), np.arange(20, 0, -1))
    zeros = np.zeros(len(item), dtype=np.int64)
    positives = Interactions(zeros, item, zeros + 5.0, zeros * 1.0, 1, 25)
    known = np.arange(25) < 20
    withheld = withheld_by_popularity(known, positives, seed=0)
    assert withheld[:20].reshape(4, 5).sum(axis=1).tolist() == [1, 1, 1, 1]
    assert not withheld[20:].any()
