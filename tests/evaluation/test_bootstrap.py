"""The paired bootstrap."""

import numpy as np
import pytest

from models.evaluation.bootstrap import bootstrap_interval


def test_a_constant_difference_is_certain() -> None:
    ours = np.array([0.5, 0.7, 0.9])
    assert bootstrap_interval(ours, ours - 0.25, 500) == pytest.approx((0.25, 0.25, 0.25))


def test_the_interval_is_that_of_the_normal_distribution_for_many_users() -> None:
    difference = np.random.default_rng(3).normal(0.1, 1.0, 4000)
    low, mean, high = bootstrap_interval(difference, np.zeros(4000), 4000)
    error = 1.96 * difference.std() / np.sqrt(4000)
    assert mean == pytest.approx(difference.mean())
    assert (low, high) == pytest.approx((mean - error, mean + error), abs=0.1 * error)


def test_blocks_draw_what_one_block_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    difference = np.random.default_rng(0).random(7)
    whole = bootstrap_interval(difference, np.zeros(7), 100)
    monkeypatch.setattr("models.evaluation.bootstrap._DRAWS_AT_ONCE", 7 * 9)
    assert bootstrap_interval(difference, np.zeros(7), 100) == pytest.approx(whole)


def test_unpaired_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        bootstrap_interval(np.zeros(3), np.zeros(2), 100)


def test_a_single_user_has_an_interval_of_one_point() -> None:
    assert bootstrap_interval(np.array([0.5]), np.array([0.25]), 100) == (0.25, 0.25, 0.25)
