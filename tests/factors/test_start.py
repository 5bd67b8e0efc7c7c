"""The start as a whole: lists whose answer is visible by eye."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from two_tastes import N_ITEMS, start_of, two_tastes

from models.data.arrays import Factors
from models.data.interactions import History
from models.data.matrices import pad_histories
from models.factors.blocks import Evidence
from models.factors.start import BLOCKS, Start, block_sizes
from models.network.towers import UserTower


def scores(start: Start, items: list[int]) -> Factors:
    history = History(np.array(items), np.full(len(items), 5.0), np.arange(len(items)) * 1.0)
    rows, ages, liked = pad_histories([history], 4.0, 8, N_ITEMS)
    padded = torch.nn.functional.pad(torch.from_numpy(start.history), (0, 0, 0, 1))
    user = UserTower(start)(
        torch.from_numpy(start.profile_mean)[None],
        padded,
        torch.from_numpy(rows),
        torch.from_numpy(ages),
        torch.from_numpy(liked),
        torch.zeros(1),
    )
    found: Factors = (user @ torch.from_numpy(start.ranking).T).numpy()[0]
    return found


def test_a_taste_is_recommended_its_own_items() -> None:
    start = start_of(two_tastes())
    liked = scores(start, [0, 1, 2, 3])
    assert set(np.argsort(-liked)[:6]) == {0, 1, 2, 3, 4, 5}
    liked = scores(start, [8, 9, 10, 11])
    assert set(np.argsort(-liked)[:6]) == {6, 7, 8, 9, 10, 11}


def test_every_blocks_ranking_factors_are_white() -> None:
    start = start_of(two_tastes())
    place = 0
    for block in start.blocks:
        part = start.ranking[:, place : place + block.size]
        covariance = part.T @ part / N_ITEMS
        strong = np.diag(covariance) > 0.5
        np.testing.assert_allclose(covariance, np.diag(strong.astype(float)), atol=1e-3)
        np.testing.assert_allclose(part.mean(axis=0), 0.0, atol=1e-4)
        place += block.size


def test_items_that_nobody_liked_are_not_known() -> None:
    interactions = two_tastes()
    start = start_of(interactions.take(interactions.item != 7))
    assert not start.known[7]
    assert start.known.sum() == N_ITEMS - 1


@given(st.integers(16, 4096), st.integers(0, 96))
def test_the_blocks_fill_all_dimensions(factors: int, topics: int) -> None:
    evidence = Evidence(
        two_tastes(), 4.0, np.zeros((N_ITEMS, min(topics, factors // 5)), np.float32)
    )
    sizes = block_sizes(BLOCKS, factors, evidence)
    assert sum(sizes) == factors
    assert min(sizes) >= 0


def test_blocks_that_leave_dimensions_free_or_take_too_many_are_named() -> None:
    evidence = Evidence(two_tastes(), 4.0, np.zeros((N_ITEMS, 20), np.float32))
    with pytest.raises(ValueError, match=r"'liked together': 11, 'factors': 3.* don't fill 24"):
        block_sizes(
            [block for block in BLOCKS if block.name in ("liked together", "factors")], 24, evidence
        )
    with pytest.raises(ValueError, match=r"'alike': 20.* don't fill 24"):
        block_sizes(BLOCKS, 24, evidence)
