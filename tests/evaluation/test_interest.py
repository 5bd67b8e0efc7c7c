"""Interest: levels by hand, and probabilities that come true as often as they say."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from models.evaluation.interest import fit_logistic, group_levels, probabilities, with_intercept
from models.evaluation.metrics import calibration_error


def test_levels_are_log_odds_beyond_the_average_shrunk_by_five_ratings() -> None:
    group, likes = np.array([0, 0, 0, 1, 1, 1]), np.array([1, 1, 1, 0, 0, 0]) > 0
    levels, rated = group_levels(group, likes, 3)
    np.testing.assert_allclose(levels, np.log([5.5 / 2.5, 2.5 / 5.5, 1.0]), rtol=1e-6)
    assert rated.tolist() == [True, True, False]


@settings(max_examples=20, deadline=None)
@given(st.floats(-2.0, 2.0), st.floats(-1.0, 2.0), st.integers(0, 2**32 - 1))
def test_fitted_probabilities_come_true(intercept: float, slope: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    columns = with_intercept(random.standard_normal(20_000))
    chance = special.expit(columns @ np.array([intercept, slope]))
    labels = random.random(20_000) < chance
    said = probabilities(fit_logistic(columns, labels), columns)
    assert calibration_error(said, labels) < 0.03
    np.testing.assert_allclose(said, chance, atol=0.06)
