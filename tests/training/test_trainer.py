"""Gradual unfreezing on the real MiniLM: which layers learn in which pass."""

from pathlib import Path

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from models.network.adaptation.choice import adapt
from models.network.encoder import TextEncoder
from models.network.loading import load_language_model
from models.objective.bank import TextBank
from models.training.callbacks import GradualUnfreezing

pytestmark = pytest.mark.training


def test_layers_open_from_the_top_one_every_two_passes(tmp_path: Path) -> None:
    encoder = TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=16)
    adaptation = adapt(encoder, "full", tuned_layers=3, rank=1)
    callback = GradualUnfreezing(adaptation, epochs=2)
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[])
    opened = []
    for epoch in range(7):
        callback.on_epoch_begin(arguments, TrainerState(epoch=float(epoch)), TrainerControl())
        opened.append([_learns(layer) for layer in adaptation.layers])
    one, two, three = [False, False, True], [False, True, True], [True, True, True]
    assert opened == [one, one, two, two, three, three, three]
    assert not any(p.requires_grad for p in encoder.model.embeddings.parameters())


def test_only_what_is_asked_for_is_fresh_and_has_gradients() -> None:
    encoder = TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=16)
    bank = TextBank(adapt(encoder, "full", 1, rank=1), ["Alien", "Heat", "Fargo"], n_items=2)
    fresh = bank.eval()(torch.tensor([2, 0]).numpy())
    assert fresh.requires_grad
    torch.testing.assert_close(fresh.detach(), bank.vectors[[2, 0]], atol=2e-3, rtol=0.0)
    assert bank.items.shape == (2, encoder.width)


def test_a_training_step_may_read_a_copy_and_validation_never_does() -> None:
    encoder = TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=16)
    copies = [["Alien again", "Alien anew"], ["Heat again", "Heat anew"]]
    adaptation = adapt(encoder, "full", 0, rank=1)
    bank = TextBank(adaptation, ["Alien", "Heat", "a person"], n_items=2, copies=copies)
    torch.manual_seed(0)
    rows = torch.tensor([0, 2]).numpy()
    read = torch.stack([bank.train()(rows) for _ in range(30)])
    apart = torch.cdist(read[:, 0], torch.from_numpy(encoder.vectors(["Alien", *copies[0]])))
    assert set(apart.argmin(dim=1).tolist()) == {0, 1, 2}
    assert apart.min(dim=1).values.max() < 0.02
    assert torch.allclose(read[:, 1], bank.vectors[2], atol=2e-3)
    assert torch.allclose(bank.eval()(rows), bank.vectors[rows], atol=1e-6)


def _learns(layer: torch.nn.Module) -> bool:
    return all(p.requires_grad for p in layer.parameters())
