"""The towers: weights of a history by hand, and texts that stand in for own factors."""

import numpy as np
import pytest
import torch
from toy_version import HISTORY, PROFILE, RANKING, WIDTH, normal, start

from models.network import TwoTowers, unit

N_ITEMS = 5


@pytest.fixture
def towers() -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(WIDTH, start(N_ITEMS, np.random.default_rng(3)), dropout=0.5).eval()


def users(towers: TwoTowers, items: list[int], idle: float) -> torch.Tensor:
    rows = torch.tensor([[*items, *[N_ITEMS] * (4 - len(items))]])
    return towers.user_factors(
        torch.zeros(1, WIDTH),
        towers.own_history,
        rows,
        torch.arange(4.0)[None],
        torch.tensor([idle]),
    )


def test_a_history_is_weighed_by_age_block_by_block(towers: TwoTowers) -> None:
    found = users(towers, [2, 0], idle=0.0)[0, :HISTORY]
    history = towers.own_history
    long = (0.2 + 1.0) * history[2, :5] + (0.2 + 0.5 ** (1 / 5)) * history[0, :5]
    short = 1.0 * history[2, 5:] + 0.5 ** (1 / 2) * history[0, 5:]
    expected = torch.cat([unit(long[None])[0], 0.5 * unit(short[None])[0]])
    torch.testing.assert_close(found, expected)


def test_padding_counts_nothing(towers: TwoTowers) -> None:
    torch.testing.assert_close(users(towers, [], 0.0)[0, :HISTORY], torch.zeros(HISTORY))


def test_popularity_fades_with_the_history_and_turns_recent_with_absence(
    towers: TwoTowers,
) -> None:
    new, known = users(towers, [], 0.0)[0, -2:], users(towers, [0, 1, 2], 0.0)[0, -2:]
    torch.testing.assert_close(new, torch.tensor([32.0, 0.0]))
    torch.testing.assert_close(known, torch.tensor([8.0, 0.0]))
    away = users(towers, [0, 1, 2], 300.0)[0, -2:]
    torch.testing.assert_close(away, torch.tensor([-0.6 * 8.0, 8.0 + 1.6 * 8.0]))


def test_an_item_has_its_own_factors_or_those_of_its_text(towers: TwoTowers) -> None:
    texts = torch.from_numpy(normal(np.random.default_rng(0), N_ITEMS, WIDTH))
    sums = torch.zeros(N_ITEMS, RANKING), torch.ones(N_ITEMS, HISTORY)
    without = torch.tensor([False, True, False, False, False])
    ranking, history = towers.item_factors(texts, *sums, without=without)
    torch.testing.assert_close(ranking[0], towers.own_ranking[0])
    torch.testing.assert_close(ranking[1], towers.items.ranking(texts)[1])
    torch.testing.assert_close(history[1], towers.items.history(texts)[1] + 1.0)
    assert PROFILE + HISTORY + 2 == RANKING


def test_own_factors_are_dropped_in_training_only(towers: TwoTowers) -> None:
    texts = torch.zeros(N_ITEMS, WIDTH)
    sums = torch.zeros(N_ITEMS, RANKING), torch.zeros(N_ITEMS, HISTORY)
    none = torch.zeros(N_ITEMS, dtype=torch.bool)
    calm = towers.item_factors(texts, *sums, without=none)[0]
    torch.testing.assert_close(calm, towers.own_ranking)
    torch.manual_seed(1)
    dropped = towers.train().item_factors(texts, *sums, without=none)[0]
    changed = (dropped != towers.own_ranking).any(dim=1)
    assert 0 < changed.sum() < N_ITEMS
