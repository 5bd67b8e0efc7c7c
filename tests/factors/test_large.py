"""What is computed another way for much data is the same, or as near as it says."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from models.data.interactions import Interactions
from models.data.matrices import user_item_matrix
from models.factors import ease, profile, text_map, transitions
from models.factors.als import AlsOptions, solved_rows
from models.factors.blocks import Evidence
from models.factors.ease import EaseBlock, EaseOptions, weights_over_items
from models.factors.profile import ProfileOptions, fit_profile
from models.factors.spectrum import spectrum
from models.factors.text_map import solve_text_map
from models.factors.transitions import TransitionOptions


def some_interactions(users: int = 60, items: int = 25, count: int = 700) -> Interactions:
    random = np.random.default_rng(3)
    cells = random.choice(users * items, count, replace=False)
    user, item = np.divmod(cells, items)
    return Interactions(
        user, item, random.integers(1, 6, count) * 1.0, random.random(count), users, items
    )


def test_all_axes_of_the_rows_give_eases_weights_themselves() -> None:
    rows = user_item_matrix(some_interactions())
    topics = np.random.default_rng(0).standard_normal((2, 25)).astype(np.float32)
    whole = np.vstack([rows.toarray(), topics])
    exact = weights_over_items(whole.T @ whole, 50.0)
    source, target = np.linspace(0.5, 1.0, 25), np.linspace(1.0, 0.2, 25)
    found = spectrum(rows, 25, topics).item_weights(50.0, source, target) @ np.eye(25)
    np.testing.assert_allclose(found, source[:, None] * exact * target, atol=1e-5)
    turned = spectrum(rows, 25, topics).item_weights(50.0, source, target).T @ np.eye(25)
    np.testing.assert_allclose(turned, found.T, atol=1e-6)


def test_the_strongest_axes_are_those_of_the_singular_values() -> None:
    rows = user_item_matrix(some_interactions())
    values = np.linalg.svd(rows.toarray(), compute_uv=False)
    found = spectrum(rows, 6)
    np.testing.assert_allclose(found.energy, values[:6] ** 2, rtol=1e-3)
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(6), atol=1e-5)


def test_ease_of_a_large_catalogue_is_that_of_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = np.random.default_rng(1).standard_normal((25, 3)).astype(np.float32)
    found = Evidence(some_interactions(), 3.0, topics)
    block = EaseBlock(options=EaseOptions(penalty=20.0))
    history, ranking = block.fit(found, 25)
    monkeypatch.setattr(ease, "EXACT_ITEMS", 0)
    large_history, large_ranking = block.fit(found, 25)
    np.testing.assert_allclose(large_history @ large_ranking.T, history @ ranking.T, atol=1e-4)


@pytest.mark.parametrize("backwards", [0.0, 0.3])
def test_many_transitions_are_counted_as_few_are(
    backwards: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    interactions = some_interactions()
    grades, options = interactions.grades(4.0, 0.5), TransitionOptions(backwards=backwards)
    few = transitions.transitions(interactions, grades, options).toarray()
    monkeypatch.setattr(transitions, "MOST_PAIRS", 1500)  # several blocks of items
    np.testing.assert_allclose(
        transitions.transitions(interactions, grades, options).toarray(), few, rtol=1e-5
    )
    monkeypatch.setattr(transitions, "KEPT_CELLS", 0)
    monkeypatch.setattr(transitions, "LEAST_FOLLOWERS", 3)
    strongest = transitions.transitions(interactions, grades, options).toarray()
    assert ((strongest > 0).sum(axis=1) == 3).all()
    for kept, whole in zip(strongest, few, strict=True):
        np.testing.assert_allclose(np.sort(kept)[-3:], np.sort(whole)[-3:], rtol=1e-5)


def test_profiles_teach_what_a_dense_regression_says(monkeypatch: pytest.MonkeyPatch) -> None:
    positives = some_interactions().positives(4.0)
    profiles = np.random.default_rng(4).standard_normal((60, 5)).astype(np.float32) + 2.0
    monkeypatch.setattr(profile, "USERS_AT_ONCE", 7)
    ranking, weights, mean = fit_profile(positives, profiles, ProfileOptions(rank=5))
    matrix = user_item_matrix(positives).toarray()
    active = matrix.sum(axis=1) > 0
    liked = matrix[active] / np.sqrt(matrix[active].sum(axis=1, keepdims=True))
    centred = profiles[active] - profiles[active].mean(axis=0)
    scale = 1.0 / np.sqrt((centred**2).sum(axis=1).mean())
    gram = scale**2 * centred.T @ centred + 10.0 * np.eye(5)
    dense = scale * np.linalg.solve(gram, scale * centred.T @ (liked - liked.mean(axis=0)))
    said = (profiles - mean) @ weights @ ranking.T  # equal but for a constant of each user
    expected = (profiles - mean) @ dense
    np.testing.assert_allclose(
        said - said.mean(axis=1, keepdims=True),
        expected - expected.mean(axis=1, keepdims=True),
        atol=1e-5,
    )


def solved_map(solve: Callable[..., tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    random = np.random.default_rng(5)
    text, wanted = random.standard_normal((40, 6)), random.standard_normal((40, 3))
    attributes = sparse.csr_array(random.random((40, 9)) * (random.random((40, 9)) < 0.4))
    return np.vstack(solve(text, attributes, wanted))


def test_the_text_map_by_columns_is_that_by_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_map, "ITEMS_AT_ONCE", 7)
    by_items, by_columns = (
        solved_map(solve) for solve in (text_map._by_items, text_map._by_columns)
    )
    np.testing.assert_allclose(by_columns, by_items, rtol=1e-6, atol=1e-9)


def test_a_text_map_that_would_not_fit_is_learned_from_a_sample_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(6)
    vectors = random.standard_normal((3000, 40)).astype(np.float32)
    columns = sparse.csr_array((3000, 0), dtype=np.float32)
    targets = vectors @ random.standard_normal((40, 2)).astype(np.float32)
    whole = solve_text_map(vectors, columns, targets, np.ones(3000, dtype=np.bool_))
    monkeypatch.setattr(text_map, "LARGEST_SYSTEM", 39)
    sampled = solve_text_map(vectors, columns, targets, np.ones(3000, dtype=np.bool_))
    assert "39 of 3000 items" in caplog.text
    assert np.abs(sampled.weights - whole.weights).max() > 0
    assert np.corrcoef(sampled.weights.ravel(), whole.weights.ravel())[0, 1] > 0.6


@pytest.mark.parametrize("by_count", [False, True])
def test_rows_of_als_that_are_solved_together_are_as_if_alone(by_count: bool) -> None:
    interactions = some_interactions()
    matrix = user_item_matrix(interactions.take(interactions.user != 5))
    factors = np.random.default_rng(7).standard_normal((25, 4))
    options = AlsOptions(penalty_by_count=by_count)
    found = solved_rows(matrix, factors, options)
    assert not found[5].any()
    for row in np.delete(np.arange(60), 5):
        liked = factors[matrix[[row]].indices]
        penalty = options.penalty * (len(liked) if by_count else 1)
        system = factors.T @ factors + penalty * np.eye(4) + options.confidence * liked.T @ liked
        alone = np.linalg.solve(system, (1 + options.confidence) * liked.sum(axis=0))
        np.testing.assert_allclose(found[row], alone, rtol=1e-9, atol=1e-12)
