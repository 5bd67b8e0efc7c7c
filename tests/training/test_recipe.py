"""A recipe fitted to the past of a night: it ranks as past nights do, and new items by text."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from test_night_weights import DAY, FACTORS, ITEMS, USERS, fashion, firm_tastes, profiles

from models.data.interactions import Interactions
from models.data.nights import night
from models.data.splits import Trial, make_split
from models.evaluation.contender import Contender
from models.evaluation.question import ask, judge
from models.factors.start import BLOCKS, Algorithms
from models.factors.text_map import content_features
from models.nights.fit_choice import FLAT_FLOOR, FitChoice, best_of, choose_fit, choose_on_past
from models.nights.past_nights import past_night
from models.nights.recipe import Recipe
from models.nights.standings import night_standings
from models.nights.visit_gains import likeliest

pytestmark = pytest.mark.training

TEXTS = np.random.default_rng(1).standard_normal((ITEMS, 4)).astype(np.float32)
NO_ATTRIBUTES = sparse.csr_array((ITEMS, 0), dtype=np.float32)
NAMES = [f"profile {user}" for user in range(USERS)]
RECIPE = Recipe(TEXTS, profiles(), NAMES, NO_ATTRIBUTES, FACTORS, 20)


def a_night() -> Trial:
    return night(fashion(), 4.0, 0.6, 0.7)


def test_known_items_rank_as_in_a_past_night() -> None:
    trial = a_night()
    known = np.unique(trial.train.item)
    trial = replace(
        trial, truth=trial.truth.take(np.isin(trial.truth.item, known)), candidates=known
    )
    content = content_features(TEXTS, NO_ATTRIBUTES)
    past = past_night(trial, content, profiles(), FACTORS, 20, Algorithms(), [Algorithms().recent])
    question = ask(trial, NAMES)
    answer = judge(question, RECIPE.scorer(trial, Algorithms()))
    assert past is not None
    assert past.users.tolist() == question.users.tolist()
    np.testing.assert_allclose(answer.ndcg(), past.ndcg(Algorithms()), atol=1e-6)


def test_an_item_that_nobody_had_liked_is_ranked_by_its_text() -> None:
    trial = a_night()
    new = np.setdiff1d(np.arange(ITEMS), trial.train.item)
    question = ask(trial, NAMES)
    scores = RECIPE.scorer(trial, Algorithms())(question.histories, question.profiles)
    silent = replace(RECIPE, items=np.zeros_like(TEXTS)).scorer(trial, Algorithms())
    without = silent(question.histories, question.profiles)
    assert len(new) > 2
    assert scores.shape == (len(question.users), ITEMS)
    assert (np.ptp(scores[:, new], axis=1) > 1e-4).all()
    assert (np.ptp(without[:, new], axis=1) < 1e-4).all()


def test_weights_are_chosen_on_what_was_known_alone() -> None:
    trial = a_night()
    later = replace(trial, truth=trial.truth.take(np.arange(3)), labelled=trial.labelled)
    assert choose_on_past(RECIPE, trial, NAMES) == choose_on_past(RECIPE, later, NAMES)


def test_the_default_stands_where_too_few_users_can_tell() -> None:
    tuning = make_split("warm", fashion(), 4.0).tuning
    few = replace(tuning, truth=tuning.truth.take(np.arange(3)))
    assert choose_fit(RECIPE, few, NAMES, Algorithms()) == FitChoice(Algorithms())


def changing_tastes() -> Interactions:
    """Each user takes five of the eight items of a kind, one a day, then those of another kind."""
    random = np.random.default_rng(0)
    rows = [
        (user, 8 * kind + item)
        for user in range(USERS)
        for kind in random.permutation(5)[:2]
        for item in random.permutation(8)[:5]
    ]
    user, item = (np.array(column) for column in zip(*rows, strict=True))
    time = np.arange(len(user)) % 10 * DAY
    return Interactions(user, item, np.full(len(user), 5.0), time, USERS, ITEMS)


def floors(algorithms: Algorithms) -> list[float]:
    return [block.weights.floor for block in algorithms.blocks]


def test_histories_fade_and_popularity_counts_where_that_shows() -> None:
    default = Algorithms()
    tuning = make_split("warm", firm_tastes(), 4.0).tuning
    firm = choose_fit(RECIPE, tuning, NAMES, default).algorithms
    assert floors(firm) == [FLAT_FLOOR] * len(BLOCKS)
    assert firm.popularity.unknown_visiting < default.popularity.unknown_visiting
    tuning = make_split("warm", changing_tastes(), 4.0).tuning
    changing = choose_fit(RECIPE, tuning, NAMES, default).algorithms
    assert floors(changing) == floors(default)


def test_another_choice_stands_just_where_its_gain_is_above_zero() -> None:
    noisy = replace(fashion(), value=np.where(np.arange(len(fashion())) % 2, 5.0, 3.0))
    tuning = make_split("warm", noisy, 4.0).tuning
    choice = choose_fit(RECIPE, tuning, NAMES, Algorithms())
    assert choice.gain is not None
    assert (choice.algorithms != Algorithms()) == (choice.gain[0] > 0)
    metrics = choice.metrics()
    assert metrics["choice_gain_low"] == choice.gain[0]
    assert {"ease_penalty", "ease_below", "gain_of_liked_next"} <= metrics.keys()


@pytest.mark.parametrize(("better", "row"), [(0.2, 1), (0.0, 0)])
def test_a_row_is_chosen_where_users_who_did_not_choose_gain(better: float, row: int) -> None:
    ndcg = np.random.default_rng(3).random((3, 200))
    ndcg[1] = ndcg[0] + better
    ndcg[2] = ndcg[0] - 0.1
    chosen, gain = best_of(ndcg)
    assert chosen == row
    assert gain[1] == pytest.approx(better)


def test_parts_rank_as_the_fitted_towers_do() -> None:
    question = ask(make_split("warm", fashion(), 4.0).tuning, NAMES)
    weighed = likeliest(
        RECIPE.parts(question, Algorithms()), Algorithms(), np.ones(len(question.users), np.bool_)
    )
    assert weighed.popularity.visiting != (0.0, 0.0, 0.0, 0.0)
    for algorithms in (Algorithms(), weighed):
        answer = judge(question, RECIPE.scorer(question.trial, algorithms))
        parts = RECIPE.parts(question, algorithms)
        np.testing.assert_allclose(parts.ndcg(algorithms), answer.ndcg(), atol=1e-6)


def test_other_weights_of_histories_need_no_other_fit() -> None:
    question = ask(make_split("warm", fashion(), 4.0).tuning, NAMES)
    blocks = tuple(replace(one, weights=replace(one.weights, floor=FLAT_FLOOR)) for one in BLOCKS)
    flat = replace(Algorithms(), blocks=blocks)
    fading = RECIPE.parts(question, Algorithms())
    fitted = RECIPE.scorer(question.trial, Algorithms())
    for one, other in zip(
        RECIPE.parts_of(question, fitted, flat).blocks,
        RECIPE.parts(question, flat).blocks,
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    assert not torch.equal(RECIPE.parts_of(question, fitted, flat).blocks[0], fading.blocks[0])


def test_likelihood_finds_the_block_that_says_what_is_liked() -> None:
    question = ask(make_split("warm", fashion(), 4.0).tuning, NAMES)
    parts = RECIPE.parts(question, Algorithms())
    told = torch.from_numpy(np.where(parts.truth, 1.0, 0.0)).float()
    telling = replace(parts, blocks=(parts.blocks[0], told, *parts.blocks[2:]))
    users = np.ones(len(parts.users), np.bool_)
    weighed = likeliest(telling, Algorithms(), users)
    gains = [block.weights.gain for block in weighed.blocks]
    assert gains[1] > BLOCKS[1].weights.gain
    assert telling.ndcg(weighed).mean() > telling.ndcg(Algorithms()).mean()
    nobody = likeliest(telling, Algorithms(), ~users)
    assert nobody == Algorithms()


def test_users_of_many_nights_are_drawn_with_all_of_them() -> None:
    nights = [night(fashion(), 4.0, cut, cut + 0.1) for cut in (0.5, 0.6, 0.7)]
    asked = [
        (ask(one, NAMES), {"shipped": Contender((RECIPE.scorer(one, Algorithms()),))})
        for one in nights
    ]
    found = night_standings(asked, "shipped", None, 500)
    each = [night["ndcg@10"]["shipped"] for night in found["nights"]]
    users = [night["users"] for night in found["nights"]]
    low, mean, high = found["intervals"]["shipped"]
    assert found["users"] == len(np.unique(np.concatenate([q.users for q, _ in asked])))
    assert mean == pytest.approx(np.average(each, weights=users))
    assert found["models"]["shipped"]["ndcg@10"] == pytest.approx(mean)
    assert low < mean < high
    with pytest.raises(ValueError, match="no nights"):
        night_standings([], "shipped", None, 500)
