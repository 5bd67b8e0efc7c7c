"""Adapters: a bottleneck of new weights behind each tuned layer.

Houlsby et al., "Parameter-efficient transfer learning for NLP", ICML 2019, at the place of
Pfeiffer et al., "AdapterFusion", EACL 2021.
"""

from typing import Any

from torch import Tensor, nn

from models.network.adaptation.wrapping import WrappedLayer
from models.network.encoder import TextEncoder


class AdaptedLayer(WrappedLayer):
    """A layer with a bottleneck of `size` units behind it, which at first adds nothing."""

    def __init__(self, layer: nn.Module, encoder: TextEncoder, size: int) -> None:
        super().__init__(layer)
        self.down = nn.Linear(encoder.width, size)
        self.up = nn.Linear(size, encoder.width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Any:
        """Return what the layer returns for `hidden` [b, l, w], and what the bottleneck adds."""
        output = self.layer(hidden, attention_mask=attention_mask)
        states = output[0] if isinstance(output, tuple) else output
        return states + self.up(nn.functional.gelu(self.down(states)))
