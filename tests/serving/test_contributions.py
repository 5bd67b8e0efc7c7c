"""Reasons: the parts of a score add up to it, and the one that is named adds most."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy_version
from plain_reasons import what_else_adds, what_items_add

from jobs.settings.model import Settings
from models.data.interactions import Catalogue, History
from models.serving.bundle import Bundle
from models.serving.history_encoder import HistoryEncoder, by_block
from models.serving.item_factors import ItemFactors, item_factors
from models.serving.night import lately_until
from models.serving.reasons.contributions import Reasoner, beside_history, remembered, speaking
from models.serving.user_encoder import UserEncoder, build_night

KNOWN, ITEMS, USERS, K = 30, 40, 300, 10
DAY = 86400.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("reasons") / "warehouse"
    return toy_version.champion(Settings(warehouse=str(root)), [str(n) for n in range(KNOWN)])


def catalogue() -> Catalogue:
    return Catalogue(
        item_ids=tuple(str(row) for row in range(ITEMS)),
        titles=tuple(f"T{row}" for row in range(ITEMS)),
        texts=("",) * ITEMS,
        attributes=tuple({"genres": ["Drama", "Comedy"][row % 2]} for row in range(ITEMS)),
        available=np.ones(ITEMS, dtype=np.bool_),
    )


def histories(random: np.random.Generator) -> list[History]:
    """Return histories of 0 to 60 entries, of which the towers read 50; items repeat."""
    lengths = random.integers(0, 61, USERS)
    lengths[:3] = 0, 1, 2
    return [
        History(
            random.integers(0, ITEMS, length),
            random.integers(1, 6, length).astype(np.float64),
            np.sort(random.uniform(0, 100, length)) * DAY,
        )
        for length in lengths
    ]


@pytest.fixture(scope="module")
def night(bundle: Bundle) -> tuple[ItemFactors, list[History], np.ndarray, np.ndarray]:
    """The items' factors, and histories with the factors and some items [u, k] of the users."""
    random = np.random.default_rng(5)
    vectors = toy_version.normal(random, ITEMS, toy_version.WIDTH)
    items = item_factors(bundle, catalogue(), vectors, 1)
    past = histories(random)
    profiles = toy_version.normal(random, USERS, toy_version.WIDTH)
    # an hour after the newest: who is away for days gets popularity alone from the toy version
    factors = HistoryEncoder(bundle, by_block(items.history, toy_version.BLOCKS), 1).encode(
        past, profiles, 100 * DAY
    )
    factors[:, -4:] *= 0.1
    return items, past, factors, random.integers(0, ITEMS, (USERS, K))


def reasoner(bundle: Bundle, items: ItemFactors) -> Reasoner:
    history = by_block(items.history, toy_version.BLOCKS)
    return Reasoner(bundle, history, items.ranking, items.own, items.attributes)


def test_the_parts_add_up_to_the_score(
    bundle: Bundle, night: tuple[ItemFactors, list[History], np.ndarray, np.ndarray]
) -> None:
    items, past, factors, rows = night
    facts = bundle.manifest
    found = remembered(past, bundle.positive_threshold, facts.history_length, facts.blocks)
    parts = speaking(found, factors, by_block(items.history, facts.blocks), facts.blocks)
    for user in range(USERS):
        ranking = items.ranking[rows[user]]
        others = beside_history(
            factors[user], ranking, items.own[rows[user]], items.attributes[rows[user]],
            parts.shape[1],
        )  # fmt: skip
        by_items = ranking[:, : parts.shape[1]] @ parts[found.of(user)].T
        total = by_items.sum(axis=1) + others.sum(axis=1)
        np.testing.assert_allclose(total, ranking @ factors[user], rtol=1e-4, atol=1e-4)
        for k, row in enumerate(rows[user]):
            plain = what_items_add(facts, past[user], factors[user], items.ranking[row],
                                   items.history)  # fmt: skip
            there = found.rows[found.of(user)]
            np.testing.assert_allclose(by_items[k], [plain[r] for r in there], atol=1e-4)


def test_a_reason_is_the_largest_contributor_by_brute_force(
    bundle: Bundle, night: tuple[ItemFactors, list[History], np.ndarray, np.ndarray]
) -> None:
    items, past, factors, rows = night
    reasons = reasoner(bundle, items).reasons(past, factors, rows)
    names = {-1: "profile", -2: "popular", -3: "popular lately"}
    right = pairs = 0
    for user, k in zip(*np.nonzero(items.own[rows]), strict=True):
        item = items.ranking[rows[user, k]]
        adds: dict[object, float] = dict(what_else_adds(factors[user], item, toy_version.HISTORY))
        by_items = what_items_add(bundle.manifest, past[user], factors[user], item, items.history)
        code = int(reasons.largest[user, k])
        adds |= by_items
        right += adds[names.get(code, code)] >= max(adds.values()) - 1e-4
        pairs += 1
        three = sorted(by_items.values(), reverse=True)[:3]
        named = [int(row) for row in reasons.items[user, k] if row >= 0]
        expected = [add for add in three if add > 0]
        np.testing.assert_allclose([by_items[row] for row in named], expected, atol=1e-4)
    assert {int(code) for code in reasons.largest.ravel() if code < 0} >= set(names)
    assert (reasons.largest >= 0).mean() > 0.3
    assert right / pairs >= 0.95  # the others: the largest says what the rest says already


def test_without_the_named_item_the_score_is_lower(
    bundle: Bundle, night: tuple[ItemFactors, list[History], np.ndarray, np.ndarray]
) -> None:
    """The item counts nothing, as if its history factors were zero; all else stays."""
    items, past, factors, rows = night
    reasons = reasoner(bundle, items).reasons(past, factors, rows)
    named = np.argwhere(reasons.largest >= 0)
    blank = np.zeros((1, toy_version.HISTORY), dtype=np.float32)
    encoder = HistoryEncoder(
        bundle, by_block(np.concatenate([items.history, blank]), toy_version.BLOCKS), 1
    )
    less = [
        replace(past[u], item=np.where(past[u].item == reasons.largest[u, k], ITEMS, past[u].item))
        for u, k in named
    ]
    profiles = np.zeros((len(named), toy_version.WIDTH), dtype=np.float32)
    before = encoder.encode([past[user] for user, _ in named], profiles, 100 * DAY)
    after = encoder.encode(less, profiles, 100 * DAY)
    ranking = items.ranking[rows[*named.T]]
    assert len(named) > 500
    assert ((after - before) * ranking).sum(axis=1).max() < 0


def test_what_an_item_without_factors_of_its_own_is_recommended_for(bundle: Bundle) -> None:
    """Text and attributes promise its popularity; popular it isn't."""
    random = np.random.default_rng(6)
    vectors = toy_version.normal(random, ITEMS, toy_version.WIDTH)
    items = item_factors(bundle, catalogue(), vectors, 1)
    factors = np.zeros((2, items.ranking.shape[1]), dtype=np.float32)
    factors[0, -2:], factors[1, -2:] = 1.0, -1.0  # one likes what rises, the other avoids it
    rows = np.tile(np.arange(ITEMS), (2, 1))
    nothing = [History(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))] * 2
    found = reasoner(bundle, items).reasons(nothing, factors, rows)
    assert set(found.largest[:, :KNOWN].ravel()) <= {-1, -2, -3}
    assert set(found.largest[:, KNOWN:].ravel()) == {-1, -4, -5} or set(
        found.largest[:, KNOWN:].ravel()
    ) == {-4, -5}
    assert (found.items == -1).all()


def test_reasons_in_words(bundle: Bundle, tmp_path: Path) -> None:
    vectors = toy_version.normal(np.random.default_rng(7), ITEMS, toy_version.WIDTH)
    build_night(bundle, catalogue(), vectors, tmp_path, 1)
    encoder = UserEncoder(bundle.folder, tmp_path, None, 1, lately="this week")
    empty = History(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    past = [History(np.array([3]), np.array([5.0]), np.array([0.0])), empty, empty]
    texts = ["", "", "doctor"]
    rows = np.tile(np.arange(10, ITEMS), (3, 1))
    factors = encoder.encode(past, texts)
    factors[:, -4:] *= 0.01
    said = encoder.reasons(past, texts, factors, rows)
    words = [{said.words[place] for place in places} for places in said.places]
    assert 'like "T3"' in words[0]
    assert ("no profile" in words[1], "profile" in words[1]) == (True, False)
    assert ("no profile" in words[2], "profile" in words[2]) == (False, True)
    assert {"popular", "popular this week"} <= set().union(*words)
    assert set(said.items[0].ravel()) == {3, -1}


@pytest.mark.parametrize(
    ("half_life", "days_since", "words"),
    [
        (1.0, 0.4, "this week"),
        (7.0, 0.4, "this week"),
        (7.0, 6.0, "this month"),
        (14.0, 0.4, "this month"),
        (90.0, 3.0, "this year"),
        (365.0, 30.0, "lately"),
    ],
)
def test_popular_of_late_is_said_of_days_that_hold_half_of_it(
    half_life: float, days_since: float, words: str
) -> None:
    manifest = replace(
        toy_version.manifest("toy", []),
        metrics={"recent_half_life_days": half_life},
        trained_until=100 * DAY,
    )
    assert lately_until(manifest, (100 + days_since) * DAY) == words
    assert lately_until(replace(manifest, trained_until=None), 0.0) == "lately"
