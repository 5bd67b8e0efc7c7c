"""Splits: parts counted by hand, and what holds for any data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.interactions import Interactions
from models.data.splits import SPLITS, make_split
from models.errors import InputError

LIKED, DISLIKED = 5.0, 1.0


def interactions(
    rows: list[tuple[int, int, float, float]], n_users: int, n_items: int
) -> Interactions:
    """Make interactions from (user, item, value, time)."""
    user, item, value, time = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions(
        user.astype(np.int64), item.astype(np.int64), value.astype(float), time.astype(float),
        n_users, n_items,
    )  # fmt: skip


def one_user(likes: int) -> Interactions:
    return interactions([(0, item, LIKED, item) for item in range(likes)], 1, likes)


def test_warm_takes_four_fifths_to_train_and_the_last_tenth_of_them_to_validate() -> None:
    split = make_split("warm", one_user(25), 4.0)
    assert split.fit.item.tolist() == list(range(18))
    assert split.validation.item.tolist() == [18, 19]
    assert split.train.item.tolist() == list(range(20))
    assert split.test.item.tolist() == [20, 21, 22, 23, 24]
    assert split.given.item.tolist() == split.train.item.tolist()


@pytest.mark.parametrize(("likes", "trained"), [(5, 4), (6, 5), (7, 6), (9, 8), (10, 8), (15, 12)])
def test_warm_rounds_the_training_part_up(likes: int, trained: int) -> None:
    assert len(make_split("warm", one_user(likes), 4.0).train) == trained


def test_warm_breaks_ties_of_time_by_source_order() -> None:
    rows = [(0, item, LIKED, 7.0) for item in (3, 1, 4, 0, 2)]
    split = make_split("warm", interactions(rows, 1, 5), 4.0)
    assert split.fit.item.tolist() == [3, 1, 4]
    assert split.validation.item.tolist() == [0]
    assert split.test.item.tolist() == [2]


def test_warm_keeps_users_with_few_positives_in_training() -> None:
    rows = [(0, item, LIKED, item) for item in range(5)] + [
        (1, item, LIKED, 9) for item in range(4)
    ]
    split = make_split("warm", interactions(rows, 2, 5), 4.0)
    assert split.test.user.tolist() == [0]
    assert np.count_nonzero(split.fit.user == 1) == 4


def test_what_is_not_liked_falls_on_its_side_of_the_cut() -> None:
    rows = [(0, item, LIKED, 10 * item) for item in range(5)]
    rows += [(0, 5, DISLIKED, -1), (0, 6, DISLIKED, 25), (0, 7, DISLIKED, 35), (0, 8, DISLIKED, 45)]
    split = make_split("warm", interactions(rows, 1, 9), 4.0)
    assert sorted(split.tuning.labelled_train.item.tolist()) == [0, 1, 2, 5, 6]
    assert sorted(split.tuning.labelled.item.tolist()) == [3, 7]
    assert sorted(split.final.labelled.item.tolist()) == [4, 8]


def test_global_time_cuts_the_clock_once() -> None:
    rows = [(item % 3, item, LIKED, 100 - item) for item in range(20)]
    split = make_split("global_time", interactions(rows, 3, 20), 4.0)
    assert sorted(split.test.item.tolist()) == [0, 1]
    assert sorted(split.validation.item.tolist()) == [2, 3]
    assert split.final.clock == 99.0
    assert split.train.time.max() < split.test.time.min()


def test_cold_item_withholds_the_permuted_fifth() -> None:
    rows = [(user, item, LIKED, item) for user in range(2) for item in range(20)]
    split = make_split("cold_item", interactions(rows, 2, 20), 4.0)
    cold = np.sort(np.random.default_rng(0).permutation(20)[:4])
    assert split.candidates.tolist() == cold.tolist()
    assert set(split.test.item) == set(cold)
    assert len(split.test) == 8
    assert not set(split.train.item) & set(cold)
    assert set(split.validation.item) == set(split.tuning.candidates)


@pytest.mark.parametrize(("name", "given_items"), [("cold_user", 5), ("cold_user_0", 0)])
def test_cold_user_withholds_users_and_hands_over_their_first_positives(
    name: str, given_items: int
) -> None:
    rows = [(user, item, LIKED, item) for user in range(20) for item in range(8)]
    split = make_split(name, interactions(rows, 20, 8), 4.0)
    cold = np.random.default_rng(1).permutation(20)[:2]
    assert set(split.test.user) == set(cold)
    assert not set(split.train.user) & set(cold)
    assert len(split.train) == 18 * 8
    assert len(split.given) == 2 * given_items
    assert split.test.item.min() == given_items


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="split 'hot': expected one of warm"):
        make_split("hot", one_user(5), 4.0)


def test_data_without_a_test_part_are_refused() -> None:
    with pytest.raises(InputError, match="no positive of 4 is left to test on"):
        make_split("warm", one_user(4), 4.0)


def any_interactions(seed: int) -> Interactions:
    """Make 240 interactions of 20 users with 15 items, many ties of time."""
    generator = np.random.default_rng(seed)
    pairs = generator.permutation(20 * 15)[:240]
    return Interactions(
        pairs // 15, pairs % 15, generator.choice([1.0, 5.0, 5.0, 5.0], 240),
        generator.integers(0, 10, 240).astype(float), 20, 15,
    )  # fmt: skip


@given(seed=st.integers(0, 10_000), name=st.sampled_from(SPLITS))
def test_parts_share_the_positives_out(seed: int, name: str) -> None:
    data = any_interactions(seed)
    split = make_split(name, data, 4.0)
    withheld = split.given if name.startswith("cold_user") else data.take(np.array([], dtype=int))
    parts = [split.train, split.test, withheld]
    pairs = [(u, i) for part in parts for u, i in zip(part.user, part.item, strict=True)]
    liked = data.positives(4.0)
    assert sorted(pairs) == sorted(zip(liked.user, liked.item, strict=True))
    assert len(split.fit) + len(split.validation) <= len(split.train)
    for trial in (split.tuning, split.final):
        truth = set(zip(trial.truth.user, trial.truth.item, strict=True))
        assert not truth & set(zip(trial.train.user, trial.train.item, strict=True))
        assert not truth & set(zip(trial.given.user, trial.given.item, strict=True))
        assert truth <= set(zip(trial.labelled.user, trial.labelled.item, strict=True))
        assert set(trial.truth.item) <= set(trial.candidates)


@given(seed=st.integers(0, 10_000))
def test_warm_never_trains_on_a_users_future(seed: int) -> None:
    split = make_split("warm", any_interactions(seed), 4.0)
    for user in np.unique(split.test.user):
        first = split.test.time[split.test.user == user].min()
        assert (
            split.tuning.labelled_train.time[split.tuning.labelled_train.user == user].max()
            <= first
        )
