"""Training examples: histories of users, cut in two at random, and a bucket of items.

- The user's factors are computed from the part before the cut; targets and labels come from after.
- The targets of a step are those in one bucket: items of similar text length whose own factors are
  withheld.
- A pass has at most `MOST_STEPS` steps, so that its cost is bounded: of a larger catalogue every
  pass shows other buckets.
- Random draws depend on seed, pass and step alone, so that a resumed run, and every process of a
  shared one, sees the same examples as an uninterrupted one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from models.data.arrays import Mask, Rows
from models.data.interactions import History, Interactions, histories
from models.data.matrices import pad_histories
from models.network.processes import batch_of_process

MOST_STEPS = 500
PRIOR_LIKES, PRIOR_DISLIKES = 2.0, 2.0


class Example(NamedTuple):
    """One user, cut in two: rows of the past, targets and labelled pairs of the future."""

    user: int
    past: History
    targets: Rows
    labelled: History


@dataclass(frozen=True)
class Labels:
    """The threshold of positives, mean and deviation of the values, and a user's share of likes."""

    threshold: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, labelled: Interactions, threshold: float) -> "Labels":
        """Take mean and standard deviation (1 where all are equal) from labelled interactions."""
        return cls(threshold, float(labelled.value.mean()), float(labelled.value.std()) or 1.0)

    def user_level(self, past: History) -> float:
        """Return the log-odds of liking in `past`, shrunk to even odds."""
        likes = float((past.value >= self.threshold).sum())
        dislikes = len(past.value) - likes
        return float(np.log((likes + PRIOR_LIKES) / (dislikes + PRIOR_DISLIKES)))


class CutHistories:
    """Users with at least two positives, whose histories are cut at a random point each time."""

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

    def cut(self, index: int, random: np.random.Generator) -> Example:
        """Return the user `index`, cut before a random positive that is not the first."""
        user, history = self._users[index]
        positives = np.flatnonzero(history.value >= self.threshold)
        cut = int(positives[random.integers(1, len(positives))])
        future = History(history.item[cut:], history.value[cut:], history.time[cut:])
        past = History(history.item[:cut], history.value[:cut], history.time[:cut])
        targets = future.liked(self.threshold)
        fresh = ~np.isin(targets, past.liked(self.threshold))
        return Example(user, past, np.unique(targets[fresh]), future)


class TrainingSteps(Dataset[dict[str, Tensor]]):
    """The steps of a pass, each with one bucket of items and the next `users` users.

    A pass has every bucket once, but no more than `MOST_STEPS` of them, and all users equally
    often, both in random order.
    """

    def __init__(
        self,
        histories: CutHistories,
        collate: "Collator",
        buckets: Sequence[Rows],
        users: int,
        seed: int,
    ) -> None:
        self._histories = histories
        self._collate = collate
        self._buckets = buckets
        self._users = users
        self._seed = seed
        self._steps = min(len(buckets), MOST_STEPS)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of buckets and users of a pass."""
        random = np.random.default_rng([self._seed, epoch])
        self._epoch = epoch
        self._order = random.permutation(len(self._buckets))
        asked = random.permutation(self._steps * self._users)
        self._asked = asked % max(len(self._histories), 1)

    def __len__(self) -> int:
        return self._steps if len(self._histories) else 0

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        random = np.random.default_rng([self._seed, self._epoch, step])
        asked = self._asked[step * self._users : (step + 1) * self._users]
        examples = [self._histories.cut(int(index), random) for index in asked]
        return self._collate(self._buckets[self._order[step]], examples)


class StepLoader(DataLoader[dict[str, Tensor]]):
    """Loads one step after the other; every process gets its share of the users."""

    def __init__(self, steps: TrainingSteps) -> None:
        super().__init__(steps, batch_size=1, collate_fn=lambda batch: batch_of_process(batch[0]))
        self._steps = steps

    def set_epoch(self, epoch: int) -> None:
        """Begin a pass."""
        self._steps.set_epoch(epoch)


class Collator:
    """Puts examples into the tensors that `FinetunedModel.forward` names."""

    def __init__(
        self, profile_rows: Rows, labels: Labels, history_length: int, n_items: int
    ) -> None:
        self._profile_rows = profile_rows
        self._labels = labels
        self._length = history_length
        self._n_items = n_items

    def __call__(self, bucket: Rows, examples: list[Example]) -> dict[str, Tensor]:
        """Return tensors for [b] examples; flat arrays pair a row of the batch with a place.

        A place is that of an item in the bucket.
        """
        threshold = self._labels.threshold
        place = np.full(self._n_items, -1, dtype=np.int64)
        place[bucket] = np.arange(len(bucket))
        pasts = [example.past for example in examples]
        items, ages, liked = pad_histories(pasts, threshold, self._length, self._n_items)
        taken = np.zeros((len(examples), self._n_items), dtype=np.bool_)
        for row, past in enumerate(pasts):
            taken[row, past.liked(threshold)] = True
        target_users, targets, _ = _inside(place, [example.targets for example in examples])
        pair_users, pairs, inside = _inside(place, [e.labelled.item for e in examples])
        values = np.concatenate([example.labelled.value for example in examples])[inside]
        levels = [self._labels.user_level(past) for past in pasts]
        arrays = {
            "bucket": bucket,
            "profiles": self._profile_rows[[example.user for example in examples]],
            "items": items,
            "ages": ages,
            "liked": liked,
            "taken": taken,
            "target_users": target_users,
            "target_places": targets,
            "pair_users": pair_users,
            "pair_places": pairs,
            "labels": (values >= threshold).astype(np.float32),
            "values": ((values - self._labels.mean) / self._labels.deviation).astype(np.float32),
            "user_levels": np.array(levels, dtype=np.float32),
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _inside(place: Rows, groups: Sequence[Rows]) -> tuple[Rows, Rows, Mask]:
    """Return group and place of each item inside the bucket, and which items are inside."""
    rows = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    places = place[np.concatenate(groups)]
    inside = places >= 0
    return rows[inside], places[inside], inside
