"""Interest: levels by hand, and probabilities that come true as often as they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from models.evaluation.interest import (
    PENALTY,
    fit_logistic,
    group_levels,
    probabilities,
    with_intercept,
)
from models.evaluation.metrics import calibration_error


def test_levels_are_log_odds_beyond_the_average_shrunk_by_five_ratings() -> None:
    group, likes = np.array([0, 0, 0, 1, 1, 1]), np.array([1, 1, 1, 0, 0, 0]) > 0
    levels, rated = group_levels(group, likes, 3)
    np.testing.assert_allclose(levels, np.log([5.5 / 2.5, 2.5 / 5.5, 1.0]), rtol=1e-6)
    assert rated.tolist() == [True, True, False]


@settings(max_examples=20)
@given(st.floats(-2.0, 2.0), st.floats(-1.0, 2.0), st.integers(0, 2**32 - 1))
def test_fitted_probabilities_come_true(intercept: float, slope: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    columns = with_intercept(random.standard_normal(20_000))
    chance = special.expit(columns @ np.array([intercept, slope]))
    labels = random.random(20_000) < chance
    said = probabilities(fit_logistic(columns, labels), columns)
    assert calibration_error(said, labels) < 0.03
    # in the tails, where few labels are, the draw alone moves the fit by more
    assert np.quantile(np.abs(said - chance), 0.95) < 0.06


@settings(max_examples=20)
@given(st.integers(2, 300), st.integers(0, 2**32 - 1))
def test_the_coefficients_minimise_the_penalised_log_loss(pairs: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    columns = with_intercept(random.standard_normal(pairs))
    labels = random.permutation(np.arange(pairs) % 3 == 0)
    found = fit_logistic(columns, labels)
    wrong = probabilities(found, columns) - labels
    gradient = columns.T @ wrong / pairs + 2 * PENALTY * found
    np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


@pytest.mark.parametrize(("label", "chance"), [(True, 0.99), (False, 0.01)])
def test_labels_of_one_kind_give_a_constant_that_is_not_certain(label: bool, chance: float) -> None:
    columns = with_intercept(np.array([-1.0, 0.0, 5.0]))
    said = probabilities(fit_logistic(columns, np.full(3, label)), columns)
    np.testing.assert_allclose(said, chance)
