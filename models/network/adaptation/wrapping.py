"""New modules around the tuned layers, which stay as they are; what prefix and adapters share.

Such modules can't be merged into the layers' own weights: distillation teaches what they do to the
exported student.
"""

from collections.abc import Callable

from torch import nn

from models.network.adaptation.method import NEW_WEIGHTS_RATE, Adaptation
from models.network.encoder import TextEncoder
from models.network.loading import layers_of


class WrappedLayer(nn.Module):
    """A layer of the language model inside a module that has weights of its own."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer


Wrapper = Callable[[nn.Module, TextEncoder, int], WrappedLayer]


class Wrapping(Adaptation):
    """Trains the new weights of `wrapper(layer, encoder, size)` around each tuned layer."""

    rate = NEW_WEIGHTS_RATE

    def __init__(
        self, encoder: TextEncoder, tuned_layers: int, size: int, wrapper: Wrapper
    ) -> None:
        super().__init__(encoder, tuned_layers)
        layers = layers_of(encoder.model)
        for place in range(self.first_layer, len(layers)):
            layers[place] = wrapper(layers[place], encoder, size).to(encoder.device)

    def _learns(self, name: str) -> bool:
        return not name.startswith("layer.")


def wrapped(encoder: TextEncoder) -> list[WrappedLayer]:
    """Return the layers that carry something which can't be merged."""
    return [layer for layer in layers_of(encoder.model) if isinstance(layer, WrappedLayer)]


def unwrap(encoder: TextEncoder) -> None:
    """Take away, in place, what can't be merged, and put the bare layers back."""
    layers = layers_of(encoder.model)
    for place, layer in enumerate(layers):
        if isinstance(layer, WrappedLayer):
            layers[place] = layer.layer
