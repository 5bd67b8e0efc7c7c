"""A training step of a large catalogue: the same loss from the items that it asks for alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_version import normal, start

from models.data.interactions import Interactions
from models.network.adaptation.choice import adapt
from models.network.encoder import TextEncoder
from models.network.loading import load_language_model
from models.network.losses import LossMix, SampledSoftmax, ranking_softmax
from models.network.towers import TwoTowers
from models.objective import bank, examples
from models.objective.bank import FinetunedModel, TextBank
from models.objective.examples import Collator, CutHistories, Labels, TrainingSteps

pytestmark = pytest.mark.training

N_ITEMS, N_USERS = 9, 12
ONE = torch.tensor(1.0)


def a_model() -> FinetunedModel:
    torch.manual_seed(0)
    random = np.random.default_rng(1)
    encoder = TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=8)
    texts = [f"film {number}" for number in range(N_ITEMS)]
    texts_of_all = TextBank(adapt(encoder, "full", 0, rank=1), [*texts, "somebody"], N_ITEMS)
    fitted = replace(
        start(N_ITEMS, random),
        known=np.arange(N_ITEMS) != 4,
        profile_weights=normal(random, encoder.width, 2),
        profile_mean=normal(random, encoder.width),
    )
    towers = TwoTowers(encoder.width, fitted)
    weights = {"ranking": 1.0, "interest": 0.5, "rating": 0.5, "cosine": 0.5}
    loss = SampledSoftmax(torch.ones(N_ITEMS), 20)
    withheld = torch.arange(N_ITEMS) == 7
    model = FinetunedModel(
        texts_of_all, towers, withheld, normal(random, N_ITEMS, 3), LossMix(weights, False), loss,
        {}, {},
    )  # fmt: skip
    model.sums.copy_(torch.from_numpy(normal(random, *model.sums.shape)))
    return model.eval()


def some_steps(size: int = 3) -> TrainingSteps:
    random = np.random.default_rng(2)
    user, item = np.divmod(random.permutation(N_USERS * N_ITEMS)[:70], N_ITEMS)
    values = random.choice([2.0, 5.0], 70)
    data = Interactions(user, item, values, np.arange(70.0), N_USERS, N_ITEMS)
    collate = Collator(
        np.full(N_USERS, N_ITEMS), Labels(4.0, 3.0, 1.0), history_length=5, n_items=N_ITEMS
    )
    buckets = [np.array([0, 4, 5]), np.array([1, 2, 3]), np.array([6, 8])][:size]
    return TrainingSteps(CutHistories(data, 4.0), collate, buckets, users=6, seed=0)


def shares(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return batch | {f"share_of_{name}": ONE for name in ("ranking", "interest", "cosine")}


def test_a_step_that_makes_what_it_asks_for_has_the_loss_and_gradients_of_one_that_makes_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = a_model()
    for step in range(3):
        batch, found = shares(some_steps()[step]), []
        for limit in (N_ITEMS, 0):
            monkeypatch.setattr(bank, "LARGE_ITEMS", limit)
            model.zero_grad()
            torch.manual_seed(5)
            terms = model(batch)
            terms["loss"].backward()
            gradient = model.towers.items.ranking.weight.grad
            assert gradient is not None
            found.append((terms, gradient.clone()))
        (small, small_gradient), (large, large_gradient) = found
        for name, value in small.items():
            torch.testing.assert_close(large[name], value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(large_gradient, small_gradient, rtol=1e-4, atol=1e-6)


def test_a_softmax_over_all_items_needs_the_factors_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model()
    model.ranking_loss = ranking_softmax
    monkeypatch.setattr(bank, "LARGE_ITEMS", 0)
    with pytest.raises(TypeError, match="all items"):
        model(shares(some_steps()[0]))


def test_a_pass_has_so_many_steps_and_every_pass_shows_other_buckets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examples, "MOST_STEPS", 2)
    steps, shown = some_steps(), set()
    assert len(steps) == 2
    for epoch in range(8):
        steps.set_epoch(epoch)
        shown |= {int(steps[step]["bucket"][0]) for step in range(2)}
    assert shown == {0, 1, 6}
