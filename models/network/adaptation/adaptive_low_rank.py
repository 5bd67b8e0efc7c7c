"""AdaLoRA: low-rank sums whose ranks move to the matrices that need them, by peft.

All sums start with half as much rank again; the callback takes rank from the least important
ones during training (Zhang et al., "AdaLoRA", ICLR 2023).
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from peft import AdaLoraConfig
from peft.tuners.adalora import AdaLoraModel
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from models.network.adaptation.low_rank import ADAPTER, LowRank
from models.network.encoder import TextEncoder


class AdaptiveLowRank(LowRank):
    """Low-rank sums whose ranks go, over the training, to the matrices that need them."""

    def _beside(self, encoder: TextEncoder, names: list[str], rank: int) -> Any:
        # the steps become known when the training begins
        config = AdaLoraConfig(
            init_r=rank + (rank + 1) // 2,
            target_r=rank,
            lora_alpha=2 * rank,
            total_step=10**9,
            target_modules=names,
        )
        return AdaLoraModel(encoder.model, config, ADAPTER)

    def callbacks(self) -> list[TrainerCallback]:
        """Return the callback that hands out the ranks."""
        return [_RankAllocation(self._tuner)]

    @property
    def penalty(self) -> Callable[[], Tensor]:
        """How far the factors are from orthogonal."""
        return self._orthogonality

    def _orthogonality(self) -> Tensor:
        """Return the distance of the factors from orthogonal ones, weighed as peft does."""
        config, terms = self._tuner.peft_config[ADAPTER], []
        for name, weight in self.encoder.model.named_parameters():
            if ".lora_A" in name or ".lora_B" in name:
                product = weight @ weight.T if ".lora_A" in name else weight.T @ weight
                apart = product - torch.eye(len(product), device=weight.device)
                terms.append(torch.linalg.matrix_norm(apart))
        return cast(Tensor, config.orth_reg_weight * torch.stack(terms).mean())


class _RankAllocation(TrainerCallback):
    """Tells peft of every step, between the gradients and their removal."""

    def __init__(self, tuner: Any) -> None:
        self._tuner = tuner

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Set the times: ranks stay for a tenth of the steps, and stand for the last third."""
        config = self._tuner.peft_config[ADAPTER]
        config.total_step = state.max_steps
        config.tinit, config.tfinal = state.max_steps // 10, state.max_steps // 3

    def on_optimizer_step(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Hand out the ranks anew."""
        self._tuner.update_and_allocate(state.global_step)
