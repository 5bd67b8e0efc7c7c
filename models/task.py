"""What a fine-tune is given: its options and its data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.dataset import Rows
from models.splits import Split


@dataclass(frozen=True)
class FinetuneOptions:
    """What the training loop needs to know; the settings of the same names explain them."""

    epochs: int
    batch_users: int
    bucket_items: int
    learning_rate: float
    encoder_learning_rate: float
    weight_decay: float
    warmup_share: float
    patience: int
    epochs_between_validations: int
    tuned_layers: int
    unfreeze_epochs: int
    distillation_weight: float
    ranking_weight: float
    interest_weight: float
    rating_weight: float
    cosine_weight: float
    learned_weights: bool
    factors: int
    history_length: int
    seed: int

    @property
    def loss_weights(self) -> dict[str, float]:
        """Weights by the names of the losses."""
        return {
            "distillation": self.distillation_weight,
            "ranking": self.ranking_weight,
            "interest": self.interest_weight,
            "rating": self.rating_weight,
            "cosine": self.cosine_weight,
        }


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
