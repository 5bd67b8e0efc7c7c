"""The block of items that are liked next: what follows an item within a few interactions.

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
    followed = follow_counts(there, options.window, options.backwards, grades[grades > 0])
    source = sparse.diags_array((counts + 1) ** -options.source_damping)
    target = sparse.diags_array((counts + 1) ** -options.target_damping)
    return sparse.csr_array(source @ followed @ target)


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
