"""What a fine-tune is given: its options and its data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.dataset import Interactions, Rows
from models.splits import Trial


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
    own_dropout: float
    interest_weight: float
    distillation_weight: float
    factors: int
    history_length: int
    seed: int


@dataclass(frozen=True)
class TrainingTask:
    """The data of one fine-tune.

    `labelled` holds every interaction to fit on, `trial` is the validation question, `positives`
    are those to learn from once everything is chosen;
    `item_texts` and the attribute `columns` [n, c] stand in catalogue order, `profiles` [u] are
    the users' texts.
    """

    item_texts: Sequence[str]
    profiles: Sequence[str]
    labelled: Interactions
    trial: Trial
    positives: Interactions
    threshold: float
    columns: sparse.csr_array


def profile_rows(task: TrainingTask) -> dict[str, int]:
    """Return the bank's row of each distinct profile; they follow the items."""
    first = len(task.item_texts)
    return {profile: first + i for i, profile in enumerate(sorted(set(task.profiles)))}


def user_rows(task: TrainingTask) -> Rows:
    """Return the bank's row of each user's profile [u]."""
    rows = profile_rows(task)
    return np.array([rows[profile] for profile in task.profiles], dtype=np.int64)
