"""The towers: weights of a history by hand, and texts that stand in for own factors."""

import numpy as np
import pytest
import torch
from toy_version import HISTORY, PROFILE, RANKING, WIDTH, normal, start

from models.network.towers import TwoTowers, unit

N_ITEMS = 5


@pytest.fixture
def towers() -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(WIDTH, start(N_ITEMS, np.random.default_rng(3))).eval()


def users(towers: TwoTowers, items: list[int], idle: float) -> torch.Tensor:
    rows = torch.tensor([[*items, *[N_ITEMS] * (4 - len(items))]])
    return towers.user_factors(
        torch.zeros(1, WIDTH),
        towers.own_history,
        rows,
        torch.arange(4.0)[None],
        torch.tensor([[1.0] * len(items) + [0.0] * (4 - len(items))]),
        torch.tensor([idle]),
    )


def test_a_history_is_weighed_by_age_block_by_block(towers: TwoTowers) -> None:
    found = users(towers, [2, 0], idle=0.0)[0, :HISTORY]
    history = towers.own_history
    long = (0.2 + 1.0) * history[2, :5] + (0.2 + 0.5 ** (1 / 5)) * history[0, :5]
    short = 1.0 * history[2, 5:] + 0.5 ** (1 / 2) * history[0, 5:]
    expected = torch.cat([unit(long[None])[0], 0.5 * unit(short[None])[0]])
    torch.testing.assert_close(found, expected)


def test_an_item_that_was_not_liked_counts_less_and_leaves_the_number_of_likes(
    towers: TwoTowers,
) -> None:
    rows, ages = torch.tensor([[2, 0]]), torch.arange(2.0)[None]
    found, both = (
        towers.user_factors(
            torch.zeros(1, WIDTH),
            towers.own_history,
            rows,
            ages,
            torch.tensor([liked]),
            torch.zeros(1),
        )[0]
        for liked in ([1.0, 0.0], [1.0, 1.0])
    )
    history = towers.own_history
    long = (0.2 + 1.0) * history[2, :5] + 0.3 * (0.2 + 0.5 ** (1 / 5)) * history[0, :5]
    torch.testing.assert_close(found[:5], unit(long[None])[0])
    # one like is known and not two: popularity counts more
    assert found[-3] > both[-3] > 0


def test_padding_counts_nothing(towers: TwoTowers) -> None:
    torch.testing.assert_close(users(towers, [], 0.0)[0, :HISTORY], torch.zeros(HISTORY))


def test_popularity_leads_the_unknown_and_what_rises_leads_those_who_come_back(
    towers: TwoTowers,
) -> None:
    new, known = users(towers, [], 0.0)[0, -4:], users(towers, [0, 1, 2], 0.0)[0, -4:]
    torch.testing.assert_close(new, torch.tensor([0.0, 32.0, 0.0, 0.0]))
    torch.testing.assert_close(known, torch.tensor([0.0, 8.0, 0.0, 0.0]))
    away = users(towers, [0, 1, 2], 300.0)[0, -4:]
    rising = 0.75 * torch.tensor([-5.6, -0.9, 8.8, 1.5])
    torch.testing.assert_close(away, rising + torch.tensor([0.0, 0.0, 0.0, 8.0]))
    nobody = users(towers, [], 300.0)[0, -4:]
    torch.testing.assert_close(nobody, torch.tensor([0.0, 0.0, 0.0, 32.0]))


def test_what_was_liked_next_counts_less_after_days(towers: TwoTowers) -> None:
    here, away = (users(towers, [2, 0], idle)[0, 5:HISTORY] for idle in (0.0, 300.0))
    torch.testing.assert_close(away, 0.2 * here)


def test_an_item_has_its_own_factors_or_those_of_its_text(towers: TwoTowers) -> None:
    texts = torch.from_numpy(normal(np.random.default_rng(0), N_ITEMS, WIDTH))
    sums = torch.zeros(N_ITEMS, RANKING), torch.ones(N_ITEMS, HISTORY)
    without = torch.tensor([False, True, False, False, False])
    ranking, history = towers.item_factors(texts, *sums, without=without)
    torch.testing.assert_close(ranking[0], towers.own_ranking[0])
    torch.testing.assert_close(ranking[1], towers.items.ranking(texts)[1])
    torch.testing.assert_close(history[1], towers.items.history(texts)[1] + 1.0)
    assert PROFILE + HISTORY + 4 == RANKING
