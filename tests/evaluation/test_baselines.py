"""Baselines: scores worked out by hand and by brute force, on data that can be read."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.baselines import ease as baseline_ease
from models.baselines.ease import ClosedForm, Ease, EaseRows, fading, transitions
from models.baselines.factorisation import FoldedIn, text_ridge
from models.baselines.popularity import popularity, random_order, recent_popularity
from models.data.interactions import History, Interactions, histories
from models.data.matrices import history_matrix, user_item_matrix
from models.evaluation.question import of_likes, standardised

DAY = 86_400.0


def liked(
    pairs: list[tuple[int, int]], n_users: int, n_items: int, times: list[float] | None = None
) -> Interactions:
    """Make positives from (user, item), a second apart."""
    user, item = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    time = np.arange(len(pairs)) if times is None else np.array(times)
    return Interactions(user, item, np.ones(len(pairs)), time.astype(float), n_users, n_items)


def history(items: list[int], last: float = 0.0) -> History:
    """Make a history that ends at `last`, a second between its items."""
    time = last - np.arange(len(items), dtype=float)[::-1]
    return History(np.array(items, dtype=np.int64), np.ones(len(items)), time)


def some_likes(seed: int, n_users: int, n_items: int) -> Interactions:
    flags = np.random.default_rng(seed).random((n_users, n_items)) < 0.4
    return liked(list(zip(*np.nonzero(flags), strict=True)), n_users, n_items)


def test_popularity_counts() -> None:
    train = liked([(0, 1), (1, 1), (1, 2)], 2, 3)
    assert popularity(train)([history([]), history([0])], ["", ""]).tolist() == [[0, 2, 1]] * 2


def test_recent_popularity_counts_30_days_up_to_each_users_last_like() -> None:
    train = liked([(0, 0), (1, 1), (2, 2)], 3, 3, [0, 40 * DAY, 80 * DAY])
    score = recent_popularity(train, clock=None, days=30)
    asked = [history([0], 20 * DAY), history([0], 60 * DAY), history([])]
    assert score(asked, [""] * 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_recent_popularity_asks_everybody_at_the_clocks_cut() -> None:
    train = liked([(0, 0), (1, 1), (2, 2)], 3, 3, [0, 40 * DAY, 80 * DAY])
    score = recent_popularity(train, clock=45 * DAY, days=30)
    assert score([history([0], 1.0), history([])], ["", ""]).tolist() == [[0, 1, 0]] * 2


def test_noise_is_the_same_for_the_same_seed() -> None:
    first, second = (random_order(4, 7)([history([])] * 2, [""] * 2) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_a_repeated_item_counts_once_and_at_its_newest() -> None:
    assert user_item_matrix(liked([(0, 1), (0, 1)], 1, 2)).toarray().tolist() == [[0, 1]]
    faded = history_matrix([history([1, 0, 1]), history([])], 3, fading).toarray()
    assert faded == pytest.approx(np.array([[0.3 + 0.5**0.1, 1.3, 0], [0, 0, 0]]))


def test_of_several_grades_of_a_pair_the_highest_counts_and_zero_leaves_none() -> None:
    pairs = liked([(0, 1), (0, 1), (1, 0), (1, 2)], 2, 3)
    graded = user_item_matrix(pairs, np.array([0.3, 0.2, 0.0, 1.0]))
    assert graded.toarray().tolist() == [[0, 0.3, 0], [0, 0, 1]]
    assert graded.nnz == 2


def test_a_baseline_of_likes_does_not_see_what_was_not_liked() -> None:
    seen: list[list[int]] = []

    def score(some: list[History], _profiles: list[str]) -> np.ndarray:
        seen.extend(one.item.tolist() for one in some)
        return np.zeros((len(some), 3))

    both = History(np.array([0, 1, 2]), np.array([5.0, 2.0, 4.0]), np.arange(3.0))
    of_likes(score, 4.0)([both], [""])
    assert seen == [[0, 2]]


def test_standardised_rows_and_a_flat_one() -> None:
    scores = standardised(np.array([[1.0, 3.0], [5.0, 5.0]]))
    assert scores.tolist() == [[-1, 1], [0, 0]]


def test_only_candidates_set_the_scale_and_a_level_row_of_them_is_zero() -> None:
    candidate = np.array([True, True, False])
    scores = standardised(np.array([[1.0, 3.0, 8.0], [0.1, 0.1, 8.0]]), candidate)
    assert scores.tolist() == [[-1, 1, 6], [0, 0, 0]]


def plain_ease(train: Interactions, penalty: float) -> np.ndarray:
    """Follow Steck's formula, dense and over items."""
    X = user_item_matrix(train).toarray()
    P = np.linalg.inv(X.T @ X + penalty * np.eye(X.shape[1]))
    return np.eye(X.shape[1]) - P / np.diag(P)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 999),
    shape=st.sampled_from([(4, 9), (9, 4), (6, 6)]),
    penalty=st.sampled_from([0.5, 10.0, 500.0]),
)
def test_ease_over_the_smaller_side_equals_the_formula_and_has_no_diagonal(
    seed: int, shape: tuple[int, int], penalty: float
) -> None:
    train = some_likes(seed, *shape)
    ease = Ease(EaseRows(train), penalty)
    one_item_each = history_matrix([history([item]) for item in range(shape[1])], shape[1])
    weights = ease.apply(one_item_each)
    assert np.abs(np.diag(weights)).max() < 1e-9
    assert weights == pytest.approx(plain_ease(train, penalty), abs=1e-9)
    asked = histories(train, np.arange(shape[0]))
    expected = user_item_matrix(train).toarray() @ plain_ease(train, penalty)
    assert ease.score(asked, [""] * len(asked)) == pytest.approx(expected, abs=1e-9)


def test_ease_of_all_axes_is_the_formula_and_finds_them_once_for_all_penalties(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baseline_ease, "EXACT_CELLS", 0)
    train = some_likes(3, 9, 6)
    rows, asked = EaseRows(train), histories(train, np.arange(9))
    for penalty in (0.5, 10.0, 500.0):
        expected = user_item_matrix(train).toarray() @ plain_ease(train, penalty)
        found = Ease(rows, penalty).score(asked, [""] * 9)
        assert found == pytest.approx(expected, abs=1e-4)
    axes = rows.axes
    monkeypatch.setattr(baseline_ease, "spectrum", None)
    assert Ease(rows, 1.0)._rows.axes is axes


def test_transitions_look_forward_within_the_window() -> None:
    train = liked([(0, item) for item in range(10)] + [(1, 3), (1, 0)], 2, 10)
    follows = transitions(train).toarray()
    assert follows[0, 1] == pytest.approx(1 / np.sqrt(2))
    assert follows[0, 7] > 0
    assert follows[0, 8] == 0
    assert follows[1, 0] == 0
    assert follows[3, 0] == pytest.approx(1 / 2)
    assert follows[9, 3] == 0


def test_transitions_of_nothing_and_of_one() -> None:
    assert transitions(liked([], 1, 2)).toarray().tolist() == [[0, 0], [0, 0]]
    assert transitions(liked([(0, 1)], 1, 2)).toarray().tolist() == [[0, 0], [0, 0]]


def test_the_closed_form_prefers_what_comes_next() -> None:
    train = liked([(user, item) for user in range(3) for item in range(12)], 3, 12)
    model = ClosedForm(Ease(EaseRows(train), 100.0), transitions(train), share=1.0)
    scores = model.score([history([0, 1])], [""])[0]
    assert scores[2:].argmax() == 0
    assert scores[2] > scores[11]


def test_folded_in_factors_minimise_the_weighted_loss() -> None:
    generator = np.random.default_rng(5)
    items, has = generator.normal(size=(7, 3)), [1, 4]
    user = FoldedIn(items).users([history(has), history([])])
    confidence = np.ones(7)
    confidence[has] = 2.0
    wanted = np.zeros(7)
    wanted[has] = 1.0
    gradient = items.T @ (confidence * (items @ user[0] - wanted)) + 0.1 * len(has) * user[0]
    assert gradient == pytest.approx(np.zeros(3), abs=1e-9)
    assert user[1] == pytest.approx(np.zeros(3))


def test_text_ridge_finds_a_linear_map_for_an_item_that_nobody_has() -> None:
    generator = np.random.default_rng(2)
    texts, true_map = generator.normal(size=(30, 4)), generator.normal(size=(4, 2))
    factors = texts @ true_map + 1.0
    train = liked([(0, item) for item in range(29)], 1, 30)
    hidden = factors.copy()
    hidden[29] = 0.0
    assert text_ridge(texts, hidden, train, 1e-9)[29] == pytest.approx(factors[29], abs=1e-6)
