"""Gradual unfreezing on the real MiniLM: which layers learn in which pass."""

from pathlib import Path

import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from models.bank import TextBank
from models.encoder import TextEncoder, load_language_model
from models.trainer import GradualUnfreezing


def test_layers_open_from_the_top_one_every_two_passes(tmp_path: Path) -> None:
    encoder = TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=16)
    bank = TextBank(encoder, ["Alien", "Heat"], n_items=2, tuned=3)
    callback = GradualUnfreezing(bank, epochs=2)
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to=[])
    opened = []
    for epoch in range(7):
        callback.on_epoch_begin(arguments, TrainerState(epoch=float(epoch)), TrainerControl())
        opened.append([_learns(layer) for layer in bank.tuned_layers])
    one, two, three = [False, False, True], [False, True, True], [True, True, True]
    assert opened == [one, one, two, two, three, three, three]
    assert not any(p.requires_grad for p in encoder.model.embeddings.parameters())


def test_only_what_is_asked_for_is_fresh_and_has_gradients() -> None:
    encoder = TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=16)
    bank = TextBank(encoder, ["Alien", "Heat", "Fargo"], n_items=2, tuned=1)
    fresh = bank(torch.tensor([2, 0]).numpy())
    assert fresh.requires_grad
    torch.testing.assert_close(fresh.detach(), bank.vectors[[2, 0]], atol=2e-3, rtol=0.0)
    assert bank.items.shape == (2, encoder.width)


def _learns(layer: torch.nn.Module) -> bool:
    return all(p.requires_grad for p in layer.parameters())
