"""What a fine-tune is given: its options and its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

import numpy as np
from scipy import sparse

from models.data.arrays import Rows
from models.data.splits import Split


@dataclass(frozen=True)
class AdaptationOptions:
    """Which weights of the language model learn."""

    tuned_layers: int
    unfreeze_epochs: int
    tuning: str
    tuning_rank: int


@dataclass(frozen=True)
class LossOptions:
    """What is learned, and how much each part of it counts."""

    distillation_weight: float
    ranking_weight: float
    interest_weight: float
    rating_weight: float
    cosine_weight: float
    learned_weights: bool
    ranking_loss: str
    negatives: int
    teacher_encoder: str
    teacher_weight: float
    anchor_weight: float
    replay_weight: float
    adversarial_step: float

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


@dataclass(frozen=True)
class ExampleOptions:
    """What the losses are shown."""

    batch_users: int
    bucket_items: int
    history_length: int
    augmentations: str
    augmented_copies: int
    paraphrase_model: str
    label_share: float
    pseudo_label_confidence: float


@dataclass(frozen=True)
class LoopOptions:
    """How the weights move, and when that ends."""

    epochs: int
    learning_rate: float
    encoder_learning_rate: float
    weight_decay: float
    warmup_share: float
    patience: int
    epochs_between_validations: int
    optimiser: str
    precision: str
    accumulated_steps: int
    checkpointing: bool
    processes: int
    sharding: bool
    tracking: str


@dataclass(frozen=True)
class FinetuneOptions:
    """All that a fine-tune is told; the settings of the same names explain the fields."""

    adaptation: AdaptationOptions
    losses: LossOptions
    examples: ExampleOptions
    loop: LoopOptions
    factors: int
    seed: int

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "FinetuneOptions":
        """Take the options out of settings by name."""
        filled: FinetuneOptions = _filled(cls, settings)
        return filled


def option_names(options: type = FinetuneOptions) -> list[str]:
    """Return the names of all settings that a fine-tune reads."""
    hints = get_type_hints(options)
    return [
        name
        for field in fields(options)
        for name in (option_names(hints[field.name]) if is_dataclass(hints[field.name])
                     else [field.name])
    ]  # fmt: skip


def _filled(options: Any, settings: Mapping[str, Any]) -> Any:
    hints = get_type_hints(options)
    return options(
        **{
            name: _filled(hint, settings) if is_dataclass(hint) else settings[name]
            for name, hint in hints.items()
        }
    )


@dataclass(frozen=True)
class TrainingTask:
    """The data of one fine-tune.

    Everything is chosen on `split.tuning`; what is kept is fitted to `split.final`'s training
    part at last. `item_texts` and the attribute `columns` [n, c] stand in catalogue order,
    `profiles` [u] are the users' texts.
    """

    item_texts: Sequence[str]
    profiles: Sequence[str]
    split: Split
    columns: sparse.csr_array

    @property
    def threshold(self) -> float:
        """The value from which an interaction is a positive."""
        return self.split.tuning.threshold


def profile_rows(task: TrainingTask) -> dict[str, int]:
    """Return the bank's row of each distinct profile; they follow the items."""
    first = len(task.item_texts)
    return {profile: first + i for i, profile in enumerate(sorted(set(task.profiles)))}


def user_rows(task: TrainingTask) -> Rows:
    """Return the bank's row of each user's profile [u]."""
    rows = profile_rows(task)
    return np.array([rows[profile] for profile in task.profiles], dtype=np.int64)
