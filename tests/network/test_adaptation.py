"""Ways of tuning on the real MiniLM: what they train, where they start, that they merge."""

import copy

import numpy as np
import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from models.errors import InputError
from models.network.adaptation.choice import adapt
from models.network.adaptation.method import Adaptation
from models.network.adaptation.wrapping import unwrap, wrapped
from models.network.encoder import TextEncoder
from models.network.loading import layers_of, load_language_model

pytestmark = pytest.mark.training

TEXTS = ["Alien (1979). Genres: Horror.", "Heat", "Fargo. A crime in the snow."]
WEIGHTS = 22_713_216  # of MiniLM


@pytest.fixture
def encoder() -> TextEncoder:
    return TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=24).eval()


def learn(encoder: TextEncoder, adaptation: Adaptation, steps: int = 3) -> None:
    """Push the first text's vector away from the second's."""
    optimiser = torch.optim.AdamW(adaptation.weights(), lr=1e-2)
    arguments, state = TrainingArguments(output_dir="unused", report_to=[]), TrainerState()
    state.max_steps = steps
    for callback in adaptation.callbacks():
        callback.on_train_begin(arguments, state, TrainerControl())
    tokens = encoder.tokenize(TEXTS)
    ids, mask = tokens.batch(np.arange(len(TEXTS)), encoder.padding, encoder.device)
    for step in range(1, steps + 1):
        vectors = encoder(ids, mask)
        loss = (vectors[0] * vectors[1]).sum()
        if adaptation.penalty is not None:
            loss = loss + adaptation.penalty()
        torch.autograd.backward(loss)
        optimiser.step()
        state.global_step = step
        for callback in adaptation.callbacks():
            callback.on_optimizer_step(arguments, state, TrainerControl())
        optimiser.zero_grad()


@pytest.mark.parametrize("method", ["lora", "adalora", "prefix", "adapters"])
def test_few_new_weights_learn_and_nothing_else(encoder: TextEncoder, method: str) -> None:
    before = {name: w.clone() for name, w in encoder.model.state_dict().items()}
    adaptation = adapt(encoder, method, tuned_layers=6, rank=8)
    trained = sum(weight.numel() for weight in adaptation.weights())
    assert 0 < trained < 0.03 * WEIGHTS
    assert all(weight.requires_grad for weight in adaptation.weights())
    start = encoder.vectors(TEXTS)
    learn(encoder, adaptation)
    assert np.abs(encoder.vectors(TEXTS) - start).max() > 1e-3
    after = encoder.model.state_dict()
    for name, weight in before.items():
        now = next(
            after[other]
            for other in (
                name,
                name.replace(".weight", ".base_layer.weight").replace(".bias", ".base_layer.bias"),
                ".".join([*name.split(".")[:3], "layer", *name.split(".")[3:]]),
            )
            if other in after
        )
        assert torch.equal(now, weight), name


@pytest.mark.parametrize("method", ["lora", "adalora", "adapters"])
def test_the_start_is_the_pretrained_model(encoder: TextEncoder, method: str) -> None:
    plain = encoder.vectors(TEXTS)
    adapt(encoder, method, tuned_layers=2, rank=4)
    np.testing.assert_allclose(encoder.vectors(TEXTS), plain, atol=1e-6)


@pytest.mark.parametrize("method", ["lora", "adalora"])
def test_merged_weights_give_the_same_vectors(encoder: TextEncoder, method: str) -> None:
    names = set(encoder.model.state_dict())
    adaptation = adapt(encoder, method, tuned_layers=2, rank=4)
    learn(encoder, adaptation)
    learned = encoder.eval().vectors(TEXTS)
    adaptation.merge()
    assert set(encoder.model.state_dict()) == names
    np.testing.assert_allclose(encoder.vectors(TEXTS), learned, atol=1e-5)


@pytest.mark.parametrize("method", ["prefix", "adapters"])
def test_what_cannot_merge_is_taken_away_whole(encoder: TextEncoder, method: str) -> None:
    plain, names = encoder.vectors(TEXTS), set(encoder.model.state_dict())
    adaptation = adapt(encoder, method, tuned_layers=2, rank=4)
    assert len(list(wrapped(encoder))) == 2
    learn(encoder, adaptation)
    copied = copy.deepcopy(encoder)
    unwrap(copied)
    assert not list(wrapped(copied))
    assert set(copied.model.state_dict()) == names
    np.testing.assert_allclose(copied.vectors(TEXTS), plain, atol=1e-6)
    assert len(list(wrapped(encoder))) == 2


def test_adalora_gives_ranks_to_the_matrices_that_need_them(encoder: TextEncoder) -> None:
    adaptation = adapt(encoder, "adalora", tuned_layers=1, rank=2)
    learn(encoder, adaptation, steps=20)
    ranks = [
        int((weight.abs() > 0).sum())
        for name, weight in layers_of(encoder.model)[-1].named_parameters()
        if "lora_E" in name
    ]
    assert sum(ranks) == 2 * len(ranks)  # rank 2 on average, of 3 at the start
    assert len(set(ranks)) > 1


def test_a_layer_that_takes_no_prefix_is_refused(encoder: TextEncoder) -> None:
    adapt(encoder, "adapters", tuned_layers=1, rank=4)  # its layers take states and mask alone
    with pytest.raises(InputError, match="setting `tuning`: the layers of BertModel take no"):
        adapt(encoder, "prefix", tuned_layers=1, rank=4)
