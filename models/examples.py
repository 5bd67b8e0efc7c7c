"""Training examples: users cut at a random point of their history.

- Before the cut: the history that makes the user's factors. After it: targets and labels.
- Randomness comes from torch's global generator, which the trainer's checkpoints keep, so that a
  resumed run sees the same examples as an undisturbed one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.dataset import History, Interactions, Rows, histories
from models.serving import pad_histories
from models.texts import length_buckets

PRIOR_LIKES, PRIOR_DISLIKES = 2.0, 2.0


class Example(NamedTuple):
    """One user, cut in two: rows of the past, targets and labelled pairs of the future."""

    user: int
    past: History
    targets: Rows
    labelled: History


@dataclass(frozen=True)
class Labels:
    """What makes an interaction a positive, and a user's generosity from a past."""

    threshold: float

    def user_level(self, past: History) -> float:
        """Return the log-odds of liking in `past`, shrunk to even odds."""
        likes = float((past.value >= self.threshold).sum())
        dislikes = len(past.value) - likes
        return float(np.log((likes + PRIOR_LIKES) / (dislikes + PRIOR_DISLIKES)))


class CutHistories(Dataset[Example]):
    """Users with at least two positives; each access cuts at another point."""

    def __init__(self, labelled: Interactions, threshold: float) -> None:
        self.threshold = threshold
        every = histories(labelled, np.arange(labelled.n_users))
        self._users = [
            (user, history)
            for user, history in enumerate(every)
            if (history.value >= threshold).sum() >= 2
        ]

    def __len__(self) -> int:
        return len(self._users)

    def __getitem__(self, index: int) -> Example:
        user, history = self._users[index]
        positives = np.flatnonzero(history.value >= self.threshold)
        pick = int(torch.randint(1, len(positives), (1,)))
        cut = int(positives[pick])
        future = History(history.item[cut:], history.value[cut:], history.time[cut:])
        past = History(history.item[:cut], history.value[:cut], history.time[:cut])
        targets = future.liked(self.threshold)
        fresh = ~np.isin(targets, past.liked(self.threshold))
        return Example(user, past, np.unique(targets[fresh]), future)


class Collator:
    """Puts examples into the tensors that `FinetunedModel.forward` names."""

    def __init__(
        self,
        item_lengths: Sequence[int],
        profile_rows: Rows,
        labels: Labels,
        history_length: int,
        bucket_items: int,
    ) -> None:
        self._buckets = length_buckets(item_lengths, bucket_items)
        self._profile_rows = profile_rows
        self._labels = labels
        self._length = history_length
        self._n_items = len(item_lengths)

    def __call__(self, examples: list[Example]) -> dict[str, Tensor]:
        """Return tensors for [b] examples; flat arrays pair a row of the batch with an item."""
        pasts = [example.past for example in examples]
        items, ages = pad_histories(pasts, self._labels.threshold, self._length, self._n_items)
        taken = np.zeros((len(examples), self._n_items), dtype=np.bool_)
        for row, past in enumerate(pasts):
            taken[row, past.liked(self._labels.threshold)] = True
        profiles = self._profile_rows[[example.user for example in examples]]
        values = np.concatenate([example.labelled.value for example in examples])
        bucket = self._buckets[int(torch.randint(0, len(self._buckets), (1,)))]
        arrays = {
            "bucket": bucket,
            "profile_rows": np.unique(profiles),
            "profiles": profiles,
            "items": items,
            "ages": ages,
            "taken": taken,
            "target_users": _repeat([example.targets for example in examples]),
            "target_items": np.concatenate([example.targets for example in examples]),
            "pair_users": _repeat([example.labelled.item for example in examples]),
            "pair_items": np.concatenate([example.labelled.item for example in examples]),
            "labels": (values >= self._labels.threshold).astype(np.float32),
            "user_levels": np.array(
                [self._labels.user_level(past) for past in pasts], dtype=np.float32
            ),
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _repeat(groups: Sequence[Rows]) -> Rows:
    return np.repeat(np.arange(len(groups)), [len(group) for group in groups])
