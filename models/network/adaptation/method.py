"""What every way of tuning has in common, and the plainest of them, full tuning.

`FullTuning` trains the weights of the tuned layers themselves. The other methods train few new
weights, and have a file each.

Trade-off: one setting, `tuning_rank`, is the rank of the low-rank sums, the length of the prefix
and the width of the adapters; all other parameters of the methods are those of their papers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from transformers import TrainerCallback

from models.network.encoder import TextEncoder
from models.network.loading import layers_of

# few weights that start at nothing: ten times the rate of a full tuning (Biderman et al., "LoRA
# learns less and forgets less", TMLR 2024)
NEW_WEIGHTS_RATE = 10.0


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
