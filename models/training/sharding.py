"""Sharding of a language model that is too large for one device among the processes (FSDP).

- Each process keeps a part of every layer, and gathers the whole of a layer only while that layer
  runs (PyTorch's `fully_shard`). Everything else is trained as without sharding.
- Weights are saved and loaded whole, so that the file of the best weights is that of one process.

Trade-off: every run of a layer sends its weights between processes. Sharded trainings write no
checkpoints, and start anew when they are killed.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from models.errors import InputError
from models.network.encoder import TextEncoder
from models.network.loading import layers_of
from models.network.processes import world
from models.training.options import FinetuneOptions


def shard(encoder: TextEncoder, options: FinetuneOptions) -> None:
    """Share the layers of `encoder` among the processes, in place.

    Raises InputError with options that need whole weights.
    """
    if world() == 1 or options.adaptation.tuning != "full" or options.regularisation.anchor_weight:
        raise InputError(
            "setting `sharding`: it needs `processes` of at least 2, `tuning` full and no "
            "`anchor_weight`"
        )
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (world(),))
    for layer in layers_of(encoder.model):
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)


def leave_to_shards(model: nn.Module) -> None:
    """Keep DistributedDataParallel from averaging what `fully_shard` averages already."""
    names = [name for name, weight in model.named_parameters() if isinstance(weight, DTensor)]
    model._ddp_params_and_buffers_to_ignore = names  # type: ignore[assignment]  # noqa: SLF001


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of `model` with whole tensors; every process asks for it."""
    return {
        name: value.full_tensor() if isinstance(value, DTensor) else value
        for name, value in model.state_dict().items()
    }


def load_whole(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give `model` a state with whole tensors."""
    if any(isinstance(weight, DTensor) for weight in model.parameters()):
        set_model_state_dict(model, dict(state), options=StateDictOptions(full_state_dict=True))
    else:
        model.load_state_dict(state)


def unshard(encoder: TextEncoder) -> None:
    """Give every process the whole model again, in place."""
    state = whole_state(encoder.model)
    whole = type(encoder.model)(encoder.model.config)
    whole.load_state_dict(state)
    encoder.model = nn.Module.to(whole, encoder.device).eval()


class ShardedClipping(TrainerCallback):
    """Clips gradients by the length of all parts together, as the Trainer clips whole ones."""

    def __init__(self, longest: float) -> None:
        self._longest = longest

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer's signature)
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **given: Any,
    ) -> None:
        """Scale all gradients down to the length that is allowed."""
        model: nn.Module = given["model"]
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        parts = [g.to_local() for g in gradients if isinstance(g, DTensor)]
        shared = torch.stack([part.square().sum() for part in parts]).sum()
        dist.all_reduce(shared)
        own = [g.square().sum() for g in gradients if not isinstance(g, DTensor)]
        length = torch.sqrt(shared + torch.stack(own).sum())
        for gradient in gradients:
            gradient.mul_(float((self._longest / (length + 1e-6)).clamp(max=1.0)))
