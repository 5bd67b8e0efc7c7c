"""Low rank and whitening."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.factors.low_rank import low_rank, whiten


@settings(max_examples=25)
@given(st.integers(2, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_low_rank_is_exact_where_the_rank_suffices(n: int, rank: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    true_rank = min(rank, n)
    left, right = random.standard_normal((2, n, true_rank))
    matrix = (left @ right.T).astype(np.float32)
    history, ranking = low_rank(matrix, rank)
    assert history.shape == ranking.shape == (n, rank)
    np.testing.assert_allclose(history @ ranking.T, matrix, atol=1e-3 * max(1.0, abs(matrix).max()))


@settings(max_examples=25)
@given(st.integers(4, 20), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_whitening_changes_scores_by_a_constant_for_each_user(n: int, r: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    history = random.standard_normal((5, r)).astype(np.float32)
    ranking = (random.standard_normal((n, r)) + 3.0).astype(np.float32)
    turned_history, turned = whiten(history, ranking)
    before, after = history @ ranking.T, turned_history @ turned.T
    difference = before - after
    np.testing.assert_allclose(difference - difference[:, :1], 0.0, atol=2e-3)
