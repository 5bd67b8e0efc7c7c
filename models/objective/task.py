"""The data of a fine-tune."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.data.arrays import Rows
from models.data.splits import Split


@dataclass(frozen=True)
class TrainingTask:
    """The data of one fine-tune.

    Training and validation use `split.tuning`; the closed form is then fitted once more, to the
    training part of `split.final`. `item_texts` and the attribute `columns` [n, c] are in catalogue
    order, `profiles` [u] are the users' texts.
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
