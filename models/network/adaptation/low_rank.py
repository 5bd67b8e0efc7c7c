"""LoRA: a low-rank sum beside every matrix of the tuned layers, by peft.

The sums are merged into the matrices once the training has ended, so that the tuned model has the
shape of the old one (Hu et al., "LoRA", ICLR 2022).
"""

from typing import Any

from peft import LoraConfig
from peft.tuners.lora import LoraModel
from torch import nn

from models.network.adaptation.method import NEW_WEIGHTS_RATE, Adaptation
from models.network.encoder import TextEncoder
from models.network.loading import layers_of

ADAPTER = "default"  # the name that peft gives to the only one


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
