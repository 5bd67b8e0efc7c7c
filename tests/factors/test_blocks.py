"""The contract that every collaborative block meets, as `models.factors.blocks` states it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from two_tastes import N_ITEMS, two_tastes

from models.data.interactions import Interactions
from models.factors.blocks import BlockAlgorithm, Evidence, HistoryWeights
from models.factors.low_rank import whiten
from models.factors.start import BLOCKS, Algorithms, collaborative_start
from models.factors.topics import TopicBlock, TopicOptions, item_topics

FACTORS = 24

every_block = pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)


def content(n_items: int, columns: int = 4) -> sparse.csr_array:
    numbers = np.random.default_rng(0).standard_normal((n_items, columns))
    return sparse.csr_array(numbers.astype(np.float32))


def evidence(positives: Interactions, features: sparse.csr_array | None = None) -> Evidence:
    features = content(positives.n_items) if features is None else features
    return Evidence(positives, 4.0, item_topics(features, FACTORS, TopicOptions()))


def fitted(block: BlockAlgorithm, found: Evidence) -> tuple[np.ndarray, np.ndarray]:
    size = block.size(FACTORS, found)
    return block.fit(found, 6 if size is None else size)


@every_block
def test_factors_have_the_size_that_was_asked_for(block: BlockAlgorithm) -> None:
    found = evidence(two_tastes())
    size = block.size(FACTORS, found)
    for factors in fitted(block, found):
        assert factors.shape == (N_ITEMS, 6 if size is None else size)
        assert factors.dtype == np.float32
        assert np.isfinite(factors).all()


@every_block
def test_whitened_ranking_factors_have_mean_zero_and_covariance_one(block: BlockAlgorithm) -> None:
    _, ranking = whiten(*fitted(block, evidence(two_tastes())))
    covariance = ranking.T @ ranking / N_ITEMS
    strong = np.diag(covariance) > 0.5
    assert strong.any()
    np.testing.assert_allclose(covariance, np.diag(strong.astype(float)), atol=1e-3)
    np.testing.assert_allclose(ranking.mean(axis=0), 0.0, atol=1e-4)


@every_block
def test_the_same_evidence_gives_the_same_bytes(block: BlockAlgorithm) -> None:
    first, again = (fitted(block, evidence(two_tastes())) for _ in range(2))
    assert [part.tobytes() for part in first] == [part.tobytes() for part in again]


@every_block
def test_an_item_that_nobody_liked_says_nothing_unless_its_content_speaks(
    block: BlockAlgorithm,
) -> None:
    positives = two_tastes()
    history, _ = fitted(block, evidence(positives.take(positives.item != 7)))
    says_something = bool(np.abs(history[7]).max() > 1e-5)
    assert says_something == isinstance(block, TopicBlock)


@every_block
@pytest.mark.parametrize(("n_users", "n_items"), [(1, 1), (1, 5), (5, 1)])
@pytest.mark.parametrize("columns", [0, 4])
def test_the_smallest_data_can_be_fitted(
    block: BlockAlgorithm, n_users: int, n_items: int, columns: int
) -> None:
    user, item = (grid.ravel() for grid in np.indices((n_users, n_items)))
    values, times = np.full(len(user), 5.0), np.arange(len(user)) * 1.0
    positives = Interactions(user, item, values, times, n_users, n_items)
    for factors in whiten(*fitted(block, evidence(positives, content(n_items, columns)))):
        assert len(factors) == n_items
        assert np.isfinite(factors).all()


@every_block
def test_content_without_any_value_can_be_fitted(block: BlockAlgorithm) -> None:
    empty = sparse.csr_array((N_ITEMS, 4), dtype=np.float32)
    for factors in whiten(*fitted(block, evidence(two_tastes(), empty))):
        assert np.isfinite(factors).all()


def test_names_are_told_apart() -> None:
    assert len({block.name for block in BLOCKS}) == len(BLOCKS)


def test_weights_and_options_can_be_handed_in_and_leave_the_other_blocks_alone() -> None:
    positives = two_tastes()
    profiles = np.random.default_rng(1).standard_normal((positives.n_users, 3)).astype(np.float32)
    weights = HistoryWeights(floor=0.1, half_life=3.0, gain=2.0, away=0.5)
    ease, *others = BLOCKS
    changed = replace(ease, weights=weights, options=replace(ease.options, penalty=20.0))
    before, after = (
        collaborative_start(
            positives,
            4.0,
            content(N_ITEMS),
            profiles,
            FACTORS,
            Algorithms(blocks=(first, *others)),
        )
        for first in (ease, changed)
    )
    assert after.blocks[0] == replace(
        before.blocks[0], floor=0.1, half_life=3.0, gain=2.0, away=0.5, below=0.0
    )
    assert after.blocks[1:] == before.blocks[1:]
    size = before.blocks[0].size
    assert not np.allclose(after.history[:, :size], before.history[:, :size])
    assert after.history[:, size:].tobytes() == before.history[:, size:].tobytes()
