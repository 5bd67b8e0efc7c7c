"""The ways of tuning by name. Another one is a file beside this one and a line in `METHODS`."""

from collections.abc import Callable
from functools import partial

from models.network.adaptation.adapters import AdaptedLayer
from models.network.adaptation.adaptive_low_rank import AdaptiveLowRank
from models.network.adaptation.low_rank import LowRank
from models.network.adaptation.method import Adaptation, FullTuning
from models.network.adaptation.prefix import PrefixedLayer
from models.network.adaptation.wrapping import Wrapping
from models.network.encoder import TextEncoder

METHODS: dict[str, Callable[[TextEncoder, int, int], Adaptation]] = {
    "full": lambda encoder, tuned_layers, _: FullTuning(encoder, tuned_layers),
    "lora": LowRank,
    "adalora": AdaptiveLowRank,
    "prefix": partial(Wrapping, wrapper=PrefixedLayer),
    "adapters": partial(Wrapping, wrapper=AdaptedLayer),
}
UNMERGED = frozenset({"prefix", "adapters"})  # what they learn stays beside the model's weights


def adapt(encoder: TextEncoder, method: str, tuned_layers: int, rank: int) -> Adaptation:
    """Prepare the top `tuned_layers` layers of `encoder` for tuning, in place.

    Raises InputError where the encoder can't take the method.
    """
    adaptation = METHODS[method if tuned_layers else "full"](encoder, tuned_layers, rank)
    adaptation.open()
    return adaptation
