"""The losses on cases that are computed by hand."""

import math

import pytest
import torch

from models.network.losses import (
    GeneralisedBce,
    LossMix,
    Ranking,
    SampledSoftmax,
    cosine_alignment,
    distillation_loss,
    interest_loss,
    likeness_loss,
    ranking_softmax,
    rating_loss,
)


def test_ranking_softmax_leaves_out_what_is_taken_and_counts_users_alike() -> None:
    factors, items = torch.eye(2), torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0], [5.0, 0.0]])
    taken = torch.tensor([[False, False, True], [False, False, False]])
    asked = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])
    # user 0: two targets of probability 1/2; user 1: one of probability 3/5
    expected = (math.log(2.0) + math.log(5.0 / 3.0)) / 2
    loss = ranking_softmax(Ranking(factors, items, torch.tensor(1.0), taken, *asked))
    assert float(loss) == pytest.approx(expected)


def sampled_case() -> Ranking:
    torch.manual_seed(0)
    users, items = torch.randn(4, 3), torch.randn(30, 3)
    taken = torch.zeros(4, 30, dtype=torch.bool)
    taken[:, :5] = True
    targets = torch.arange(4), torch.arange(10, 14)
    return Ranking(users, items, torch.tensor(1.0), taken, *targets)


def test_sampled_softmax_estimates_the_full_one_whatever_is_drawn_often() -> None:
    case = sampled_case()
    whole = float(ranking_softmax(case))
    for popularity in (torch.ones(30), torch.arange(30.0) ** 2):
        drawn = [float(SampledSoftmax(popularity, 2000)(case)) for _ in range(20)]
        assert sum(drawn) / len(drawn) == pytest.approx(whole, abs=0.02)


def test_gbce_is_the_mean_of_positive_and_negatives_with_the_positive_tempered() -> None:
    users, items = torch.ones(1, 1), torch.tensor([[2.0], [-1.0]])
    taken = torch.tensor([[False, False]])
    target = torch.tensor([0]), torch.tensor([0])
    case = Ranking(users, items, torch.tensor(1.0), taken, *target)
    loss = GeneralisedBce(items=2, count=1)  # every item is drawn: calibration .75 gives power 1
    found = {round(float(loss(case)), 4) for _ in range(9)}
    positive, negative = math.log(1 + math.exp(-2.0)), math.log(1 + math.exp(-1.0))
    # the other item as negative, or the target itself, which doesn't count
    assert found == {round(positive + negative, 4), round(positive, 4)}


def test_likeness_compares_cosines_between_texts_not_positions() -> None:
    vectors = torch.eye(3)
    turned = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    assert float(likeness_loss(vectors, turned)) == 0.0
    alike = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert float(likeness_loss(vectors, alike)) == pytest.approx(2 / 9)


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
