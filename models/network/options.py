"""Options of the network: the language model, what of it is tuned, and the losses."""

from typing import Literal

from models.options import Options, option


class EncoderOptions(Options):
    """The language model that training begins with."""

    encoder: str = option(
        "all-MiniLM-L6-v2",
        "Language model: a packaged name, a local folder (a model version too) or a hub name.",
        min_length=1,
    )
    max_tokens: int = option(
        48, "Tokens of a text that the language model reads; the rest is cut off.", ge=8, le=512
    )


class AdaptationOptions(Options):
    """Which weights of the language model are trained."""

    tuned_layers: int = option(
        1,
        "Layers of the language model that are tuned, counted from the top; 0: the towers alone.",
        ge=0,
        le=48,
    )
    unfreeze_epochs: int = option(
        0,
        "Passes after which one more tuned layer is unfrozen, from the top; 0: all from the start.",
        ge=0,
        le=1000,
    )
    tuning: Literal["full", "lora", "adalora", "prefix", "adapters"] = option(
        "full",
        "How a layer is tuned: all its weights (full), or a few weights added to it (the others).",
    )
    tuning_rank: int = option(
        8, "Rank of lora and adalora, tokens of a prefix, width of an adapter.", ge=1, le=1024
    )


class LossOptions(Options):
    """Which losses are trained on, and how much each of them counts."""

    distillation_weight: float = option(
        1.0, "Weight of the loss of predicting the teacher's factors from texts.", ge=0, le=100
    )
    ranking_weight: float = option(
        0.1, "Weight of the ranking loss (see `ranking_loss`).", ge=0, le=100
    )
    interest_weight: float = option(
        0.2, "Weight of the loss of predicting whether a user likes an item once seen.",
        ge=0, le=100,
    )  # fmt: skip
    rating_weight: float = option(
        0.0, "Weight of the loss of predicting the value that a user gives an item.", ge=0, le=100
    )
    cosine_weight: float = option(
        0.0, "Weight of the cosine distance of users from the items that they like.", ge=0, le=100
    )
    learned_weights: bool = option(
        False, "Whether training adjusts these weights by the uncertainty of each loss."
    )
    ranking_loss: Literal["softmax", "sampled_softmax", "gbce"] = option(
        "softmax",
        "Ranking loss over the whole catalogue (softmax) or over negatives drawn at random "
        "(sampled_softmax with logQ correction, gbce).",
    )
    negatives: int = option(
        256, "Negatives drawn in each step by sampled_softmax and gbce.", ge=1, le=10**6
    )
    teacher_encoder: str = option(
        "",
        "A larger language model (local folder) whose similarities between texts are learned; "
        "empty: none.",
    )
    teacher_weight: float = option(
        1.0, "Weight of the loss of matching those similarities.", ge=0, le=100
    )

    @property
    def weights(self) -> dict[str, float]:
        """Weights by the names of the losses."""
        return {
            "distillation": self.distillation_weight,
            "ranking": self.ranking_weight,
            "interest": self.interest_weight,
            "rating": self.rating_weight,
            "cosine": self.cosine_weight,
            "teacher": self.teacher_weight if self.teacher_encoder else 0.0,
        }
