"""Callbacks of the training loop: progress lines, gradual unfreezing, sample texts."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from models.network.adaptation.method import Adaptation

_log = logging.getLogger("nightrank.train")


class PlainProgress(TrainerCallback):
    """Writes each log entry as one line, for runs without a terminal."""

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Write the entry."""
        values = "  ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        _log.info("step %d/%d  %s", state.global_step, state.max_steps, values)


class GradualUnfreezing(TrainerCallback):
    """Unfreezes the tuned layers from the top, one more every `epochs` passes."""

    def __init__(self, adaptation: Adaptation, epochs: int) -> None:
        self._layers = [adaptation.trained(layer) for layer in reversed(adaptation.layers)]
        self._epochs = epochs

    def on_epoch_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Unfreeze as many layers as the passes so far allow."""
        unfrozen = 1 + int(state.epoch or 0) // self._epochs
        for depth, weights in enumerate(self._layers):
            for weight in weights:
                weight.requires_grad_(depth < unfrozen)


class TextSamples(TrainerCallback):
    """Writes some of the withheld texts to TensorBoard at every validation, with their ranks."""

    def __init__(self, samples: Callable[[], list[tuple[str, int]]], folder: Path) -> None:
        self._samples = samples
        self._folder = folder

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Write one table."""
        rows = [f"| {rank} | {text} |" for text, rank in self._samples()]
        table = "\n".join(["| rank by text alone | text |", "| ---: | --- |", *rows])
        if state.is_world_process_zero:
            with SummaryWriter(str(self._folder)) as writer:
                writer.add_text("withheld items", table, state.global_step)
