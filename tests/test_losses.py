"""The losses on cases that are computed by hand."""

import math

import pytest
import torch

from models.losses import interest_loss, ranking_softmax, score_distillation


def test_ranking_softmax_leaves_out_what_is_taken_and_counts_users_alike() -> None:
    scores = torch.tensor([[0.0, 0.0, 5.0], [math.log(3.0), 0.0, 0.0]])
    taken = torch.tensor([[False, False, True], [False, False, False]])
    users, items = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])
    # user 0: two targets of probability 1/2; user 1: one of probability 3/5
    expected = (math.log(2.0) + math.log(5.0 / 3.0)) / 2
    assert float(ranking_softmax(scores, taken, users, items)) == pytest.approx(expected)


def test_interest_loss_of_even_odds_is_log_two() -> None:
    loss = interest_loss(torch.zeros(3), torch.tensor([1.0, 0.0, 1.0]))
    assert float(loss) == pytest.approx(math.log(2.0))


def test_losses_of_nothing_are_zero() -> None:
    assert float(interest_loss(torch.zeros(0), torch.zeros(0))) == 0.0
    assert float(score_distillation(torch.zeros(0, 3), torch.zeros(0, 3))) == 0.0


def test_distillation_is_the_mean_squared_error() -> None:
    assert float(score_distillation(torch.ones(2, 2), torch.full((2, 2), 3.0))) == 4.0
