"""The closed-form blocks: low rank, whitening, and lists whose answer is visible by eye."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from models.data.arrays import Factors
from models.data.interactions import History, Interactions
from models.data.matrices import pad_histories
from models.factors.start import Start, collaborative_start, low_rank, transitions, whiten
from models.network.towers import UserTower

N_ITEMS = 12


def two_tastes(users: int = 24) -> Interactions:
    """Even users like items 0 to 5, one after the other; odd users like items 6 to 11."""
    rows = [(u, (u % 2) * 6 + (u // 2 + i) % 6, i) for u in range(users) for i in range(5)]
    user, item, time = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Interactions(user, item, np.full(len(user), 5.0), time * 86400.0, users, N_ITEMS)


def start_of(interactions: Interactions) -> Start:
    random = np.random.default_rng(0)
    content = sparse.csr_array(random.standard_normal((N_ITEMS, 4)).astype(np.float32))
    profiles = random.standard_normal((interactions.n_users, 3)).astype(np.float32)
    return collaborative_start(interactions, content, profiles, factors=24)


def scores(start: Start, items: list[int]) -> Factors:
    history = History(np.array(items), np.full(len(items), 5.0), np.arange(len(items)) * 1.0)
    rows, ages = pad_histories([history], 4.0, 8, N_ITEMS)
    padded = torch.nn.functional.pad(torch.from_numpy(start.history), (0, 0, 0, 1))
    user = UserTower(start)(
        torch.from_numpy(start.profile_mean)[None],
        padded,
        torch.from_numpy(rows),
        torch.from_numpy(ages),
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


def test_transitions_point_forward() -> None:
    pair = Interactions(
        np.array([0, 0]), np.array([0, 1]), np.full(2, 5.0), np.array([1.0, 2.0]), 1, 2
    )
    matrix = transitions(pair, np.zeros(2)).toarray()
    np.testing.assert_allclose(matrix, [[0.0, 1.0], [0.3, 0.0]])


def test_items_that_nobody_liked_are_not_known() -> None:
    interactions = two_tastes()
    start = start_of(interactions.take(interactions.item != 7))
    assert not start.known[7]
    assert start.known.sum() == N_ITEMS - 1


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_low_rank_is_exact_where_the_rank_suffices(n: int, rank: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    true_rank = min(rank, n)
    left, right = random.standard_normal((2, n, true_rank))
    matrix = (left @ right.T).astype(np.float32)
    history, ranking = low_rank(matrix, rank)
    assert history.shape == ranking.shape == (n, rank)
    np.testing.assert_allclose(history @ ranking.T, matrix, atol=1e-3 * max(1.0, abs(matrix).max()))


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 20), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_whitening_changes_scores_by_a_constant_for_each_user(n: int, r: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    history = random.standard_normal((5, r)).astype(np.float32)
    ranking = (random.standard_normal((n, r)) + 3.0).astype(np.float32)
    turned_history, turned = whiten(history, ranking)
    before, after = history @ ranking.T, turned_history @ turned.T
    difference = before - after
    np.testing.assert_allclose(difference - difference[:, :1], 0.0, atol=2e-3)
