"""Prefix tuning: keys and values of each tuned layer that every token attends to, by peft.

Li and Liang, "Prefix-tuning", ACL 2021.
"""

from inspect import signature
from typing import Any

import torch
from peft import PrefixTuningConfig
from peft.tuners.prefix_tuning import PrefixEncoder
from torch import Tensor, nn

from models.errors import InputError
from models.network.adaptation.wrapping import WrappedLayer
from models.network.encoder import TextEncoder


class PrefixedLayer(WrappedLayer):
    """A layer whose tokens also attend to `size` learned keys and values."""

    def __init__(self, layer: nn.Module, encoder: TextEncoder, size: int) -> None:
        super().__init__(layer)
        if "past_key_values" not in signature(layer.forward).parameters:
            raise InputError(
                f"setting `tuning`: the layers of {type(encoder.model).__name__} take no prefix; "
                "choose full, lora, adalora or adapters"
            )
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
