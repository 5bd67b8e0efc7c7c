"""The losses on cases that are computed by hand."""

import math

import pytest
import torch

from models.losses import (
    LossMix,
    cosine_alignment,
    distillation_loss,
    interest_loss,
    ranking_softmax,
    rating_loss,
)


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
    nothing, none = torch.zeros(0), torch.zeros(0, 3)
    assert float(interest_loss(nothing, nothing)) == 0.0
    assert float(rating_loss(nothing, nothing)) == 0.0
    assert float(cosine_alignment(none, none)) == 0.0
    assert float(distillation_loss(none, none)) == 0.0


def test_distillation_is_the_mean_squared_distance() -> None:
    assert float(distillation_loss(torch.ones(2, 2), torch.full((2, 2), 3.0))) == 8.0


def test_rating_loss_is_the_mean_squared_error() -> None:
    assert float(rating_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))) == 2.5


def test_cosine_alignment_looks_at_directions_alone() -> None:
    users = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    items = torch.tensor([[5.0, 0.0], [3.0, 0.0]])
    assert float(cosine_alignment(users, items)) == pytest.approx(0.5)


def test_a_mix_leaves_out_what_has_no_weight() -> None:
    mix = LossMix({"ranking": 2.0, "interest": 0.5, "cosine": 0.0}, learned=False)
    losses = {"ranking": torch.tensor(3.0), "interest": torch.tensor(4.0)}
    assert float(mix(losses)) == 8.0
    assert not list(mix.parameters())


def test_learned_weights_start_fixed_and_fall_where_a_loss_is_large() -> None:
    mix = LossMix({"ranking": 1.0, "interest": 1.0}, learned=True)
    losses = {"ranking": torch.tensor(5.0), "interest": torch.tensor(0.2)}
    total = mix(losses)
    assert float(total.detach()) == pytest.approx(5.2)
    total.backward()
    pull = {name: float(-one.grad) for name, one in mix.log_variance.items()}
    assert pull["ranking"] > 0 > pull["interest"]
