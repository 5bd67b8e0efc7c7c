"""A trial's question, its answers and the standings, against a reading of the protocol in loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
from baseline_names import BASELINES
from hypothesis import given, settings
from hypothesis import strategies as st

from models.baselines.choice import baselines
from models.baselines.popularity import popularity, random_order
from models.data.interactions import History, Interactions
from models.data.repeats import Repeats
from models.data.splits import SPLITS, Split, Trial, make_split
from models.evaluation.contender import Contender
from models.evaluation.question import ask, choose, headline, judge, new_items_liked
from models.evaluation.returning import question_of_returning
from models.evaluation.slices import ndcg_slices
from models.evaluation.standings import standings

USERS, ITEMS = 40, 30
NO_PROFILES = [""] * USERS


def some_interactions(seed: int) -> Interactions:
    """Make 600 interactions of 40 users with 30 items, two thirds of them liked."""
    generator = np.random.default_rng(seed)
    pairs = generator.permutation(USERS * ITEMS)[:600]
    return Interactions(
        pairs // ITEMS, pairs % ITEMS, generator.choice([1.0, 5.0, 5.0], 600),
        generator.integers(0, 400, 600).astype(float), USERS, ITEMS,
    )  # fmt: skip


def some_split(seed: int = 0, name: str = "warm") -> Split:
    return make_split(name, some_interactions(seed), 4.0)


def fixed_scores(seed: int) -> np.ndarray:
    """Return scores [users, items] with many ties."""
    return np.random.default_rng(seed).integers(0, 6, (USERS, ITEMS)).astype(np.float32)


def scorer_of(scores: np.ndarray, users: np.ndarray):  # noqa: ANN201
    """Hand out the rows of `scores` in the order of `users`, block by block."""
    served = iter(users.tolist())

    def score(histories: list[History], _profiles: list[str]) -> np.ndarray:
        return scores[[next(served) for _ in histories]]

    return score


def ndcg_in_loops(trial: Trial, scores: np.ndarray, k: int = 10) -> dict[int, float]:
    """Follow the protocol item by item."""
    found = {}
    for user in range(USERS):
        has = set(trial.labelled_given.item[trial.labelled_given.user == user])
        true = set(trial.truth.item[trial.truth.user == user]) - has
        true &= set(trial.candidates.tolist())
        if not true:
            continue
        ranked = sorted(
            (item for item in trial.candidates.tolist() if item not in has),
            key=lambda item: (-scores[user, item], item),
        )
        gain = sum(1 / math.log2(r + 2) for r, item in enumerate(ranked[:k]) if item in true)
        ideal = sum(1 / math.log2(r + 2) for r in range(min(k, len(true))))
        found[user] = gain / ideal
    return found


@settings(max_examples=25)
@given(seed=st.integers(0, 99), name=st.sampled_from(SPLITS), tuning=st.booleans())
def test_judging_equals_the_protocol_in_loops(seed: int, name: str, tuning: bool) -> None:
    split = some_split(seed, name)
    trial = split.tuning if tuning else split.final
    scores, question = fixed_scores(seed), ask(trial, NO_PROFILES)
    expected = ndcg_in_loops(trial, scores)
    assert question.users.tolist() == list(expected)
    if expected:
        answer = judge(question, scorer_of(scores, question.users))
        assert answer.ndcg() == pytest.approx(list(expected.values()))


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    question, scores = ask(some_split().final, NO_PROFILES), fixed_scores(3)
    whole = judge(question, scorer_of(scores, question.users))
    monkeypatch.setattr("models.evaluation.question.SCORES_AT_ONCE", 7 * ITEMS)
    parts = judge(question, scorer_of(scores, question.users))
    assert parts.hits.rows.tolist() == whole.hits.rows.tolist()
    assert parts.pair_scores.tolist() == whole.pair_scores.tolist()


def test_of_many_users_a_sample_is_asked_and_the_report_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = some_split().final
    everyone = ask(trial, NO_PROFILES, report=True)
    models, nothing = {"popularity": Contender((popularity(trial.train),))}, [{}] * USERS
    assert "drawn_from" not in standings(everyone, models, "", None, nothing, 100)
    monkeypatch.setattr("models.evaluation.question.REPORT_USERS", 7)
    some, again = (ask(trial, NO_PROFILES, report=True) for _ in range(2))
    assert len(some.users) == 7
    assert some.users.tolist() == again.users.tolist()
    assert set(some.users) < set(everyone.users)
    assert len(ask(trial, NO_PROFILES).users) == len(everyone.users)
    judged = judge(some, popularity(trial.train)).ndcg()
    whole = judge(everyone, popularity(trial.train)).ndcg()
    assert judged.tolist() == whole[np.isin(everyone.users, some.users)].tolist()
    found = standings(some, models, "", None, nothing, 100)
    assert (found["users"], found["drawn_from"]) == (7, len(everyone.users))


def test_scores_of_pairs_compare_across_users() -> None:
    """Whatever a model adds to all scores of a user, or multiplies them by, is taken out."""
    question, scores = ask(some_split().final, NO_PROFILES), fixed_scores(3)
    grown = scores * (1.0 + np.arange(len(scores)))[:, None] + np.arange(len(scores))[:, None]
    plain, other = (
        judge(question, scorer_of(one, question.users)).pair_scores for one in (scores, grown)
    )
    np.testing.assert_allclose(other, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    question, scores = ask(some_split().final, NO_PROFILES), fixed_scores(0)
    scores[question.users[0], 2] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        judge(question, scorer_of(scores, question.users))


def test_scores_of_another_shape_are_refused() -> None:
    question = ask(some_split().final, NO_PROFILES)
    with pytest.raises(ValueError, match="expected"):
        judge(question, random_order(ITEMS + 1, 0))


def test_an_item_that_comes_back_is_neither_ranked_nor_true() -> None:
    item = np.array([0, 1, 2, 3, 0, 4])
    times = np.arange(6.0)
    data = Interactions(np.zeros(6, dtype=np.int64), item, np.ones(6), times, 1, 6)
    split = make_split("warm", data, 1.0)
    question = ask(split.final, [""])
    assert split.test.item.tolist() == [4]
    assert question.truth.toarray().tolist() == [[0, 0, 0, 0, 1, 0]]
    back = make_split("warm", data.take(np.array([0, 1, 2, 3, 5, 4])), 1.0)
    assert len(ask(back.final, [""]).users) == 1


def test_an_item_that_may_be_repeated_is_ranked_and_true() -> None:
    item = np.array([0, 1, 2, 3, 0])
    data = Interactions(np.zeros(5, dtype=np.int64), item, np.ones(5), np.arange(5.0), 1, 5)
    assert len(ask(make_split("warm", data, 1.0).final, [""]).users) == 0
    question = ask(make_split("warm", data, 1.0, Repeats(0.0)).final, [""])
    assert question.truth.toarray().tolist() == [[1, 0, 0, 0, 0]]
    ranked = judge(question, scorer_of(np.arange(5.0)[None], question.users)).hits
    assert ranked.rows[0, :5].tolist() == [4, 3, 2, 1, 0]
    soon = ask(make_split("warm", data, 1.0, Repeats(2 / 86400)).final, [""])  # two seconds later
    assert soon.seen.toarray().tolist() == [[0, 0, 1, 1, 0]]


def test_an_item_that_was_rated_low_is_not_ranked() -> None:
    values = np.array([5.0, 1.0, 5.0, 5.0, 5.0, 5.0])
    data = Interactions(np.zeros(6, dtype=np.int64), np.arange(6), values, np.arange(6.0), 1, 8)
    question = ask(make_split("warm", data, 4.0).final, [""])
    assert question.seen.toarray().tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]]
    ranked = judge(question, scorer_of(np.zeros((1, 8)), question.users)).hits.rows
    assert ranked.tolist() == [[5, 6, 7, -1, -1, -1, -1, -1, -1, -1]]


def test_an_oracle_has_everything() -> None:
    split = some_split()
    question = ask(split.final, NO_PROFILES)
    truth = np.zeros((USERS, ITEMS))
    truth[split.test.user, split.test.item] = 1.0
    answer = judge(question, scorer_of(truth, question.users))
    metrics = headline(question, answer, np.eye(ITEMS, dtype=np.float32))
    for name in ("ndcg@10", "recall@10", "mrr@10", "hit_rate@10"):
        assert metrics[name] == pytest.approx(1.0)
    assert metrics["auc"] == pytest.approx(1.0)
    assert metrics["diversity@10"] == pytest.approx(1.0)


def test_choosing_takes_the_best_and_the_first_of_equals() -> None:
    question = ask(some_split().final, NO_PROFILES)
    good = np.zeros((USERS, ITEMS))
    good[question.trial.truth.user, question.trial.truth.item] = 1.0
    options = [
        ("flat", scorer_of(np.zeros_like(good), question.users)),
        ("good", scorer_of(good, question.users)),
        ("equal", scorer_of(good, question.users)),
    ]
    assert choose(question, options) == "good"


def test_what_is_new_is_what_nobody_had_liked_before() -> None:
    question = ask(some_split(name="cold_item").final, NO_PROFILES)
    assert new_items_liked(question) == 1.0
    trial = some_split(name="warm").final
    unknown = set(range(ITEMS)) - set(trial.train.item.tolist())
    answers = ask(trial, NO_PROFILES).truth.tocoo()
    expected = np.mean([item in unknown for item in answers.col])
    assert new_items_liked(ask(trial, NO_PROFILES)) == pytest.approx(expected)


def test_who_came_back_is_asked_with_the_days_that_had_passed() -> None:
    """One of three users came back after four days, one at once, one had no history."""
    day = 86_400.0
    trial = some_split().final
    before = Interactions(*map(np.array, ([0, 1], [0, 1], [5.0, 5.0], [day, day])), 3, 4)
    truth = Interactions(
        *map(np.array, ([0, 0, 1, 2], [1, 2, 2, 3], [5.0] * 4, [5 * day, 9 * day, day + 9, day])),
        3, 4,
    )  # fmt: skip
    trial = replace(
        trial, train=before, given=before, labelled_train=before, labelled_given=before,
        truth=truth, labelled=truth, candidates=np.arange(4),
    )  # fmt: skip
    question, clock = question_of_returning(ask(trial, ("",) * 3))
    assert question.users.tolist() == [0]
    [history] = question.histories
    assert (clock - history.time[-1]) / day == pytest.approx(4.0)


def test_nobody_to_ask_leaves_the_first_option() -> None:
    data = some_interactions(0).take(np.arange(6))
    trial = some_split().tuning
    empty = replace(trial, truth=data.take(np.array([], dtype=int)), labelled=data)
    question = ask(empty, NO_PROFILES)
    assert choose(question, [(n, popularity(trial.train)) for n in (1, 2)]) == 1


@pytest.mark.parametrize("name", SPLITS)
def test_standings_name_the_baselines_of_each_split(name: str) -> None:
    split = some_split(1, name)
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 6)).astype(np.float32)
    tuning, question = ask(split.tuning, NO_PROFILES), ask(split.final, NO_PROFILES)
    models = baselines(split, tuning, lambda _: vectors, vectors, 0)
    assert list(models) == (["random", "ridge"] if name == "cold_item" else BASELINES)
    ours = {"shipped": Contender((popularity(split.train),) * 2)}
    found = standings(question, models | ours, "shipped", vectors, [{}] * USERS, 200)
    assert found["users"] == len(question.users)
    assert set(found["intervals"]) == {"shipped", *(f"shipped-{model}" for model in models)}
    assert len(found["seeds"]["shipped"]) == 2
    if name != "cold_item":
        assert found["intervals"]["shipped-popularity"] == (0.0, 0.0, 0.0)
        assert found["intervals"]["shipped-ease"][1] == pytest.approx(
            found["models"]["shipped"]["ndcg@10"] - found["models"]["ease"]["ndcg@10"]
        )
    assert baselines(split, tuning, None, None, 0).keys() == models.keys() - {"als", "ridge"}


def test_slices_by_activity_attribute_and_item_popularity() -> None:
    split = some_split(2)
    question = ask(split.final, NO_PROFILES)
    answers = {"popularity": [judge(question, popularity(split.train))]}
    attributes = [
        {"sex": "f" if user % 2 else "m", "postcode": f"x{user}", "age": str(user)}
        for user in range(USERS)
    ]
    found = ndcg_slices(question, answers, attributes)
    assert set(found) == {"user activity", "item popularity", "sex", "age"}
    assert [group["users"] for group in found["user activity"].values()] == [13, 13, 13]
    assert next(iter(found["age"])).startswith("0 to ")
    values = answers["popularity"][0].ndcg()
    odd = question.users % 2 == 1
    assert found["sex"]["f"]["ndcg@10"]["popularity"] == pytest.approx(values[odd].mean())
    counts = np.bincount(split.train.item, minlength=ITEMS)
    truth = question.truth.toarray() > 0
    popular = found["item popularity"]["high"]
    best = np.argsort(counts, kind="stable")[::-1]
    held = np.cumsum(counts[best]) - counts[best] / 2 <= counts.sum() / 3
    assert popular["users"] == int(truth[:, best[held]].any(axis=1).sum())
