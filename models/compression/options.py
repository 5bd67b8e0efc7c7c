"""Options of the compression: how small the encoder gets, and its quantisation."""

from typing import Literal

from models.options import Options, SeedOptions, option


class StudentOptions(SeedOptions):
    """What pruning keeps of the encoder, and how long distillation trains the rest."""

    vocabulary_margin: int = option(
        2000, "Frequent word pieces kept besides those of the texts.", ge=0, le=10**6
    )
    keep_layers: int = option(2, "Layers of the language model that pruning keeps.", ge=1, le=48)
    keep_heads: float = option(
        1.0, "Share of each layer's attention heads that pruning keeps.", gt=0, le=1
    )
    keep_width: float = option(
        0.25, "Share of each layer's feed-forward units that pruning keeps.", gt=0, le=1
    )
    distil_texts: int = option(
        36_000,
        "Texts that the pruned model is distilled on, counted over all passes; 0: none.",
        ge=0,
        le=10**8,
    )
    distil_learning_rate: float = option(1e-3, "Learning rate of the distillation.", gt=0, le=1)


class QuantisationOptions(Options):
    """The data type of the shipped encoder's weights and matrix products."""

    quantisation: Literal["auto", "int8", "fp16", "none"] = option(
        "auto",
        "Quantisation of the encoder: int8 (dynamic), fp16, none (fp32); auto measures which suits "
        "best.",
    )
