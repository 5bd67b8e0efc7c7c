"""How the language model is tuned: which weights learn, and how they come back into the model.

- `full`: the weights of the tuned layers themselves.
- `lora`, `adalora`: low-rank sums beside their matrices, by peft (Hu et al., "LoRA", ICLR 2022;
  Zhang et al., "AdaLoRA", ICLR 2023); merged into the matrices once the training has ended.
- `prefix`: keys and values that every token attends to, by peft (Li and Liang, "Prefix-tuning",
  ACL 2021). `adapters`: a bottleneck behind each layer (Houlsby et al., ICML 2019, at the place
  of Pfeiffer et al., EACL 2021). Neither can be merged: distillation teaches them to the student.

Trade-off: one setting gives rank, prefix and bottleneck alike; all other parameters of the methods
are those of their papers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any, cast

import torch
from peft import AdaLoraConfig, LoraConfig, PrefixTuningConfig
from peft.tuners.adalora import AdaLoraModel
from peft.tuners.lora import LoraModel
from peft.tuners.prefix_tuning import PrefixEncoder
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from models.errors import InputError
from models.network.encoder import TextEncoder
from models.network.loading import layers_of

# few weights that start at nothing: ten times the rate of a full tuning (Biderman et al., "LoRA
# learns less and forgets less", TMLR 2024)
NEW_WEIGHTS_RATE = 10.0
ADAPTER = "default"  # the name that peft gives to the only one


class Adaptation(ABC):
    """What is trained of an encoder from layer `first_layer` up; all else is frozen.

    `rate` is what its learning rate is multiplied by.
    """

    rate = 1.0

    def __init__(self, encoder: TextEncoder, tuned_layers: int) -> None:
        layers = layers_of(encoder.model)
        self.encoder = encoder
        self.first_layer = len(layers) - min(tuned_layers, len(layers))
        encoder.requires_grad_(False)

    @property
    def layers(self) -> list[nn.Module]:
        """The tuned layers, the lowest first."""
        return list(layers_of(self.encoder.model)[self.first_layer :])

    def trained(self, layer: nn.Module) -> list[nn.Parameter]:
        """Return the weights of a tuned layer that this method trains."""
        return [weight for name, weight in layer.named_parameters() if self._learns(name)]

    def weights(self) -> list[nn.Parameter]:
        """Return all weights that this method trains, also of layers that aren't open yet."""
        return [weight for layer in self.layers for weight in self.trained(layer)]

    def open(self) -> None:
        """Let all that the method trains learn."""
        for weight in self.weights():
            weight.requires_grad_(True)

    @abstractmethod
    def _learns(self, name: str) -> bool:
        """Say whether the weight `name` of a layer is trained."""

    def callbacks(self) -> list[TrainerCallback]:
        """Return what the method does between steps."""
        return []

    @property
    def penalty(self) -> Callable[[], Tensor] | None:
        """What the method adds to the loss."""
        return None

    def merge(self) -> None:  # noqa: B027 (most methods have nothing to merge)
        """Put what was learned into the encoder's own weights, where the method can."""


class FullTuning(Adaptation):
    """The tuned layers themselves."""

    def _learns(self, name: str) -> bool:  # noqa: ARG002
        return True


class LowRank(Adaptation):
    """A low-rank sum beside every matrix of the tuned layers."""

    rate = NEW_WEIGHTS_RATE

    def __init__(self, encoder: TextEncoder, tuned_layers: int, rank: int) -> None:
        super().__init__(encoder, tuned_layers)
        self._tuner = self._beside(encoder, self._matrices(), rank)

    def _matrices(self) -> list[str]:
        places = range(self.first_layer, len(layers_of(self.encoder.model)))
        inside = tuple(f"encoder.layer.{place}." for place in places)
        return [
            name
            for name, module in self.encoder.model.named_modules()
            if isinstance(module, nn.Linear) and name.startswith(inside)
        ]

    def _beside(self, encoder: TextEncoder, names: list[str], rank: int) -> Any:
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names)
        return LoraModel(encoder.model, config, ADAPTER)

    def _learns(self, name: str) -> bool:
        return ".lora_" in name

    def merge(self) -> None:
        """Add the sums to the matrices and take them away."""
        self.encoder.model = self._tuner.merge_and_unload()


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


class Wrapping(Adaptation):
    """New modules around the tuned layers, which stay as they are."""

    rate = NEW_WEIGHTS_RATE

    def __init__(self, encoder: TextEncoder, tuned_layers: int, method: str, size: int) -> None:
        super().__init__(encoder, tuned_layers)
        layers = layers_of(encoder.model)
        for place in range(self.first_layer, len(layers)):
            wrapper = _WRAPPERS[method](layers[place], encoder, size)
            layers[place] = wrapper.to(encoder.device)

    def _learns(self, name: str) -> bool:
        return not name.startswith("layer.")


class PrefixedLayer(nn.Module):
    """A layer whose tokens also attend to `size` learned keys and values."""

    def __init__(self, layer: nn.Module, encoder: TextEncoder, size: int) -> None:
        super().__init__()
        if "past_key_values" not in signature(layer.forward).parameters:
            raise InputError(
                f"setting `tuning`: the layers of {type(encoder.model).__name__} take no prefix; "
                "choose full, lora, adalora or adapters"
            )
        self.layer = layer
        self._heads = int(encoder.model.config.num_attention_heads)
        self.prefix = PrefixEncoder(
            PrefixTuningConfig(
                task_type="FEATURE_EXTRACTION",
                num_virtual_tokens=size,
                token_dim=encoder.width,
                num_transformer_submodules=1,
                num_attention_heads=self._heads,
                num_layers=1,
                encoder_hidden_size=encoder.width,
            )
        )
        nn.init.normal_(self.prefix.embedding.weight, std=0.02)

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Any:
        """Return what the layer returns for `hidden` [b, l, w]."""
        size = self.prefix.embedding.num_embeddings
        pairs = self.prefix(torch.arange(size, device=hidden.device))
        keys, values = (
            half.reshape(size, self._heads, -1).transpose(0, 1).expand(len(hidden), -1, -1, -1)
            for half in pairs.to(hidden.dtype).chunk(2, dim=1)
        )
        seen = attention_mask.new_zeros(*attention_mask.shape[:-1], size)
        mask = torch.cat([seen, attention_mask], dim=-1)
        return self.layer(hidden, attention_mask=mask, past_key_values=_Prefix(keys, values))


class _Prefix:
    """The part of transformers' cache that an attention asks for."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values

    def update(self, keys: Tensor, values: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        """Return keys and values [b, h, s + l, d] with the prefix before them."""
        return torch.cat([self._keys, keys], dim=2), torch.cat([self._values, values], dim=2)


class AdaptedLayer(nn.Module):
    """A layer with a bottleneck of `size` units behind it, which at first adds nothing."""

    def __init__(self, layer: nn.Module, encoder: TextEncoder, size: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(encoder.width, size)
        self.up = nn.Linear(size, encoder.width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Any:
        """Return what the layer returns for `hidden` [b, l, w], and what the bottleneck adds."""
        output = self.layer(hidden, attention_mask=attention_mask)
        states = output[0] if isinstance(output, tuple) else output
        return states + self.up(nn.functional.gelu(self.down(states)))


_WRAPPERS: dict[str, Any] = {"prefix": PrefixedLayer, "adapters": AdaptedLayer}
UNMERGED = frozenset(_WRAPPERS)


def adapt(encoder: TextEncoder, method: str, tuned_layers: int, rank: int) -> Adaptation:
    """Prepare the top `tuned_layers` layers of `encoder` for tuning, in place.

    Raises InputError where the encoder can't take the method.
    """
    if method == "full" or tuned_layers == 0:
        adaptation: Adaptation = FullTuning(encoder, tuned_layers)
    elif method in _WRAPPERS:
        adaptation = Wrapping(encoder, tuned_layers, method, rank)
    else:
        kind = {"lora": LowRank, "adalora": AdaptiveLowRank}[method]
        adaptation = kind(encoder, tuned_layers, rank)
    adaptation.open()
    return adaptation


def wrapped(encoder: TextEncoder) -> Iterator[nn.Module]:
    """Yield the layers that carry something which can't be merged."""
    kinds = tuple(_WRAPPERS.values())
    return (layer for layer in layers_of(encoder.model) if isinstance(layer, kinds))


def unwrap(encoder: TextEncoder) -> None:
    """Take away, in place, what can't be merged; the layers below stand again."""
    layers = layers_of(encoder.model)
    for place, layer in enumerate(layers):
        if isinstance(layer, PrefixedLayer | AdaptedLayer):
            layers[place] = layer.layer
