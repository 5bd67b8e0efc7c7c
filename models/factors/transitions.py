"""The block of items that are liked next: what follows an item within a few interactions.

- Up to `MOST_PAIRS` pairs of interactions are counted at once. Beyond, the items are taken a few
  at a time, and of each so many of the strongest followers are kept that all items together keep
  `KEPT_CELLS`, so that memory doesn't follow the number of pairs.

Trade-off: the order alone counts, not the time between two interactions.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Numbers
from models.data.interactions import Interactions
from models.factors.blocks import BELOW, BELOW_IN_FIT, BlockAlgorithm, Evidence, HistoryWeights
from models.factors.low_rank import low_rank

MOST_PAIRS, KEPT_CELLS, LEAST_FOLLOWERS = 5_000_000, 60_000_000, 100


@dataclass(frozen=True)
class TransitionOptions:
    """Options of the transitions, chosen on the validation parts of MovieLens-100K."""

    window: int = 7
    """How many interactions later an item may follow."""
    backwards: float = 0.3
    """What the way from the later item back to the earlier one counts."""
    source_damping: float = 0.5
    """Power of popularity by which a liked item counts less."""
    target_damping: float = 0.3
    """Power of popularity by which a recommended item counts less."""
    below: float = BELOW_IN_FIT
    """What an interaction below the threshold counts, on either side, beside a positive."""


@dataclass(frozen=True)
class TransitionBlock(BlockAlgorithm):
    """Takes the dimensions that the others leave; only the last few positives count."""

    name: ClassVar[str] = "liked next"
    weights: HistoryWeights = field(
        default=HistoryWeights(floor=0.0, half_life=2.0, gain=0.7, away=0.14, below=BELOW)
    )
    options: TransitionOptions = TransitionOptions()

    def size(self, _factors: int, _evidence: Evidence) -> None:
        """Take the dimensions that the others leave."""

    def fit(self, evidence: Evidence, size: int) -> tuple[Factors, Factors]:
        """Return history and ranking factors [n, size]."""
        options = self.options
        grades = evidence.interactions.grades(evidence.threshold, options.below)
        return low_rank(transitions(evidence.interactions, grades, options), size)


def transitions(
    interactions: Interactions, grades: Numbers, options: TransitionOptions
) -> sparse.csr_array:
    """Return how often the column's item was liked soon after the row's [n, n], damped.

    `grades` [m] say what each interaction counts; those of zero are as if they weren't there.
    """
    there = interactions.take(grades > 0)
    counts = np.bincount(there.item, grades[grades > 0], minlength=there.n_items)
    source, target = (
        np.asarray((counts + 1.0) ** -power)
        for power in (options.source_damping, options.target_damping)
    )
    window = options.window, options.backwards, grades[grades > 0]
    if too_many_pairs(there, options.window, options.backwards):
        return strongest_followers(there, *window, source, target)
    followed = follow_counts(there, *window)
    return sparse.csr_array(sparse.diags_array(source) @ followed @ sparse.diags_array(target))


def too_many_pairs(interactions: Interactions, window: int, backwards: float = 0.0) -> bool:
    """Return whether there are more pairs in a `window` than are counted at once."""
    return len(interactions) * window * (2 if backwards else 1) > MOST_PAIRS


def follow_counts(
    interactions: Interactions,
    window: int,
    backwards: float = 0.0,
    grades: Numbers | None = None,
) -> sparse.csr_array:
    """Count how often a user had the column's item within `window` interactions after the row's.

    Each time also counts `backwards` in the opposite direction; [n, n]. With `grades` [m] a time
    counts the product of both grades instead of one.
    """
    order = np.lexsort((interactions.time, interactions.user))
    users, items = interactions.user[order], interactions.item[order]
    graded = np.ones(len(order)) if grades is None else grades[order]
    sources, targets, values = [], [], []
    for step in range(1, window + 1):
        same = users[:-step] == users[step:]
        earlier, later = items[:-step][same], items[step:][same]
        both = (graded[:-step] * graded[step:])[same]
        sources.append(earlier)
        targets.append(later)
        values.append(both)
        if backwards:
            sources.append(later)
            targets.append(earlier)
            values.append(backwards * both)
    shape = (interactions.n_items, interactions.n_items)
    entries = (np.concatenate(values), (np.concatenate(sources), np.concatenate(targets)))
    return sparse.csr_array(entries, shape=shape)


def strongest_followers(
    interactions: Interactions,
    window: int,
    backwards: float,
    grades: Numbers,
    source: Numbers,
    target: Numbers,
) -> sparse.csr_array:
    """Return what `follow_counts` does, in single precision, rows and columns damped [n, n].

    Of each row the greatest are kept, as many as `KEPT_CELLS` leaves each. Rows are multiplied by
    `source` [n], columns by `target` [n], and counted a few at a time.
    """
    order = np.lexsort((interactions.time, interactions.user))
    users, items = interactions.user[order], interactions.item[order]
    steps = [
        step for one in range(1, window + 1) for step in ((one, -one) if backwards else (one,))
    ]
    places = np.argsort(items, kind="stable")  # of an item's interactions in the users' order
    ends = np.searchsorted(items[places], np.arange(interactions.n_items + 1))
    most_kept = max(LEAST_FOLLOWERS, KEPT_CELLS // interactions.n_items)
    parts, first = [], 0
    while first < interactions.n_items:
        most = ends[first] + MOST_PAIRS // len(steps)
        last = max(first + 1, int(np.searchsorted(ends, most, side="right")) - 1)
        here = places[ends[first] : ends[last]]
        rows, columns, values = [], [], []
        for step in steps:
            there = here + step
            inside = here[(there >= 0) & (there < len(items))]
            inside = inside[users[inside] == users[inside + step]]
            both = grades[order[inside]] * grades[order[inside + step]]
            rows.append((items[inside] - first).astype(np.int32))
            columns.append(items[inside + step].astype(np.int32))
            values.append((both * (1.0 if step > 0 else backwards)).astype(np.float32))
        entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
        counted = sparse.csr_array(entries, shape=(last - first, interactions.n_items))
        parts.append(_greatest(counted, source[first:last], target, most_kept))
        first = last
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def _greatest(
    counted: sparse.csr_array, source: Numbers, target: Numbers, most: int
) -> sparse.csr_array:
    """Return the damped counts [m, n], of each row the greatest, `most` of them."""
    rows = np.repeat(np.arange(counted.shape[0]), np.diff(counted.indptr))
    values = (counted.data * source[rows] * target[counted.indices]).astype(np.float32)
    order = np.lexsort((-values, rows))
    kept = order[np.arange(len(order)) - counted.indptr[rows[order]] < most]
    cells = rows[kept], counted.indices[kept]
    return sparse.csr_array((values[kept], cells), shape=counted.shape)
