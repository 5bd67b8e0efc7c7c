"""The questions of past nights: nothing of later is known, and only who comes back is asked."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.data.interactions import Interactions
from models.data.nights import night


def some_interactions(seed: int) -> Interactions:
    generator = np.random.default_rng(seed)
    user, item = generator.integers(0, 12, 200), generator.integers(0, 20, 200)
    value, time = generator.choice([1.0, 5.0], 200), generator.integers(0, 60, 200).astype(float)
    return Interactions(user, item, value, time, 12, 20)


@given(seed=st.integers(0, 99), cut=st.sampled_from([0.0, 0.3, 0.5, 0.9]), end=st.just(1.0))
def test_what_is_known_lies_before_the_clock_and_what_is_true_after(
    seed: int, cut: float, end: float
) -> None:
    trial = night(some_interactions(seed), 4.0, cut, end)
    assert trial.clock is not None
    assert (trial.labelled_given.time < trial.clock).all()
    assert (trial.labelled.time >= trial.clock).all()
    assert (trial.train.value >= 4.0).all()
    assert (trial.truth.value >= 4.0).all()
    assert set(trial.truth.user) <= set(trial.labelled_given.user)


def test_a_night_ends_where_the_next_begins() -> None:
    data = some_interactions(0)
    first, second = night(data, 4.0, 0.5, 0.7), night(data, 4.0, 0.7, 1.0)
    assert second.clock is not None
    assert first.truth.time.max() < second.clock
    known = np.isin(data.user, first.labelled_given.user)
    between = (data.time >= (first.clock or 0.0)) & (data.time < second.clock) & known
    assert len(first.labelled) == between.sum()
