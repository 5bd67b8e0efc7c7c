"""Adversarial training: each step adds the loss of the same batch with perturbed token states.

The fast gradient method (Miyato, Dai and Goodfellow, "Adversarial training methods for
semi-supervised text classification", ICLR 2017), applied to the input of the first tuned layer:
each token's state is moved along the gradient of the loss, by a share of its own length.

Trade-off: every step is computed twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from models.objective.bank import TextBank

Outputs = dict[str, Tensor]


class FastGradient:
    """The loss of a step plus that of the same step with perturbed token states."""

    def __init__(self, bank: TextBank, step: float) -> None:
        self._layer = bank.adaptation.layers[0]
        self._step = step

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> Outputs:
        """Return the outputs of the clean step, with both losses added up."""
        entered: list[Tensor] = []
        random = torch.get_rng_state()
        with self._watching(entered, []):
            clean: Outputs = model(batch)
        towards = torch.autograd.grad(clean["loss"], entered, retain_graph=True)
        moves = [self._move(*pair) for pair in zip(entered, towards, strict=True)]
        torch.set_rng_state(random)  # the same copies and dropout again
        with self._watching([], moves):
            attacked: Outputs = model(batch)
        return {**clean, "loss": clean["loss"] + attacked["loss"]}

    def _move(self, states: Tensor, towards: Tensor) -> Tensor:
        lengths = [side.detach().norm(dim=-1, keepdim=True) for side in (states, towards)]
        moved: Tensor = self._step * lengths[0] * towards.detach() / lengths[1].clamp(min=1e-12)
        return moved

    @contextmanager
    def _watching(self, entered: list[Tensor], moves: list[Tensor]) -> Iterator[None]:
        """Record every input of the layer in `entered`, and add the `moves` to them one by one."""
        left = list(moves)

        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            states = inputs[0].detach() + (left.pop(0) if left else 0.0)
            if torch.is_grad_enabled() and not moves:
                states.requires_grad_(True)
                entered.append(states)
            return (states, *inputs[1:])

        handle = self._layer.register_forward_pre_hook(hook)
        try:
            yield
        finally:
            handle.remove()
