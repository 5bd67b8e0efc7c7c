"""The weights of the night: learned where past nights tell, the default where they don't."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from models.data.interactions import Interactions, histories
from models.data.matrices import pad_histories
from models.data.nights import night
from models.factors.popularity import RecentOptions
from models.factors.start import Algorithms, Start, collaborative_start
from models.network.towers import UserTower
from models.nights.parts import ScoreParts
from models.nights.past_nights import past_night
from models.nights.weights import (
    COUNT,
    NightChoice,
    choose,
    choose_night_weights,
)

pytestmark = pytest.mark.training

RECENT = [Algorithms().recent]
USERS, ITEMS, DAYS, FACTORS = 60, 40, 40, 24
DAY = 86_400.0


def fashion(seed: int = 0) -> Interactions:
    """Every day each third user likes one of the two items of the day, and all have a taste."""
    random = np.random.default_rng(seed)
    rows = [
        (user, (day + random.integers(0, 2)) % ITEMS, day * DAY + user)
        for day in range(DAYS)
        for user in range(USERS)
        if (user + day) % 3 == 0
    ]
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    liked = Interactions(user, item, np.full(len(user), 5.0), time.astype(float), USERS, ITEMS)
    _, first = np.unique(user * ITEMS + item, return_index=True)
    return liked.take(np.sort(first))


def firm_tastes() -> Interactions:
    """Each user takes six of the eight items of a kind, one a week, in no order."""
    random = np.random.default_rng(0)
    rows = [
        (user, 8 * (user % 5) + item, (7 * week + user / USERS) * DAY)
        for user in range(USERS)
        for week, item in enumerate(random.permutation(8)[:6])
    ]
    user, item, time = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions(user, item, np.full(len(user), 5.0), time, USERS, ITEMS)


def content() -> sparse.csr_array:
    numbers = np.random.default_rng(1).standard_normal((ITEMS, 4))
    return sparse.csr_array(numbers.astype(np.float32))


def profiles() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((USERS, 3)).astype(np.float32)


def a_night() -> ScoreParts:
    trial = night(fashion(), 4.0, 0.6, 0.7)
    found = past_night(trial, content(), profiles(), FACTORS, 20, Algorithms(), RECENT)
    assert found is not None
    return found


def chosen(liked: Interactions, default: Algorithms | None = None) -> NightChoice:
    default = default or Algorithms()
    return choose_night_weights(liked, 4.0, content(), profiles(), FACTORS, 20, default)


def tower_scores(start: Start, liked: Interactions, users: np.ndarray, clock: float) -> np.ndarray:
    """Score users with the network itself."""
    past = histories(liked, users)
    items, ages, kind = pad_histories(past, 4.0, 20, liked.n_items)
    idle = torch.tensor([(clock - one.time[-1]) / DAY for one in past]).float()
    with torch.no_grad():
        factors = UserTower(start)(
            torch.from_numpy(profiles()[users]),
            torch.nn.functional.pad(torch.from_numpy(start.history), (0, 0, 0, 1)),
            torch.from_numpy(items),
            torch.from_numpy(ages),
            torch.from_numpy(kind),
            idle,
        )
    return (factors @ torch.from_numpy(start.ranking).T).numpy()


def test_the_parts_of_a_past_night_rank_as_the_network_does() -> None:
    trial, default = night(fashion(), 4.0, 0.6, 0.7), Algorithms()
    weighed = replace(default, popularity=replace(default.popularity, returning=COUNT))
    one = a_night()
    known, place = np.unique(trial.train.item, return_inverse=True)
    liked = replace(trial.train, item=place, n_items=len(known))
    for algorithms in (default, weighed):
        features = sparse.csr_array(content()[known])
        start = collaborative_start(liked, 4.0, features, profiles(), FACTORS, algorithms)
        scores = tower_scores(start, liked, one.users, float(trial.clock or 0.0))
        best = np.argsort(-np.where(one.allowed, scores, -np.inf), axis=1, kind="stable")[:, :10]
        gains = np.take_along_axis(one.truth, best, axis=1) / np.log2(np.arange(10) + 2.0)
        ideal = np.cumsum(1.0 / np.log2(np.arange(10) + 2.0))[np.minimum(one.relevant, 10) - 1]
        np.testing.assert_allclose(one.ndcg(algorithms), gains.sum(axis=1) / ideal, atol=1e-6)


def test_what_a_user_has_is_not_ranked_whatever_its_value() -> None:
    liked = fashion()
    low = replace(liked, value=np.where(np.arange(len(liked)) % 2, 5.0, 1.0))
    trial = night(low, 4.0, 0.6, 0.7)
    found = past_night(trial, content(), profiles(), FACTORS, 20, Algorithms(), RECENT)
    assert found is not None
    ranked = np.unique(trial.train.item)
    for row, user in enumerate(found.users.tolist()):
        seen = set(trial.labelled_given.item[trial.labelled_given.user == user])
        assert {int(item) for item in ranked[~found.allowed[row]]} == seen & set(ranked.tolist())


def test_a_fashion_is_learned() -> None:
    slow = Algorithms(recent=RecentOptions(share=2.0))
    choice = chosen(fashion(), slow)
    assert choice.users == USERS
    assert choice.gain is not None
    assert choice.gain[0] > 0
    assert choice.chosen > choice.default
    assert choice.algorithms.recent.times < 1
    assert choice.half_life_days <= 7
    assert choice.metrics()["recent_half_life_days"] == choice.half_life_days
    assert chosen(fashion(), slow) == choice


def test_few_purchases_say_more_than_what_is_popular_where_tastes_are_firm() -> None:
    choice = chosen(firm_tastes())
    assert choice.algorithms.popularity.unknown < Algorithms().popularity.unknown
    assert choice.chosen > 1.5 * choice.default


@pytest.mark.parametrize("seed", [4, 5, 7])
def test_the_default_stands_where_likes_are_drawn_at_random(seed: int) -> None:
    """Some seeds draw a fashion: the interval doesn't know that a night's users share its items."""
    liked = fashion()
    noise = replace(liked, item=np.random.default_rng(seed).integers(0, ITEMS, len(liked)))
    assert chosen(noise).algorithms == Algorithms()


def test_the_default_stands_where_few_came_back() -> None:
    liked = fashion()
    few = liked.take(liked.user < 9)
    choice = chosen(few)
    assert (choice.algorithms, choice.users, choice.gain) == (Algorithms(), 9, None)
    assert 0 < choice.half_life_days < DAYS
    assert choose([], Algorithms()) == NightChoice(Algorithms())


def test_a_night_on_which_nobody_came_back_is_none() -> None:
    liked = fashion()
    newcomers = replace(liked, user=np.minimum(liked.time // DAY, USERS - 1).astype(np.int64))
    trial = night(newcomers, 4.0, 0.5, 0.6)
    lonely = replace(trial, truth=trial.truth.take(np.zeros(len(trial.truth), dtype=np.bool_)))
    assert past_night(lonely, content(), profiles(), FACTORS, 20, Algorithms(), RECENT) is None
