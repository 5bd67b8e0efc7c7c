"""The block of items that are liked next: what follows an item within a few positives.

Trade-off: the order alone counts, not the time between two positives.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Numbers
from models.data.interactions import Interactions
from models.factors.blocks import BlockAlgorithm, Evidence, HistoryWeights
from models.factors.low_rank import low_rank


@dataclass(frozen=True)
class TransitionOptions:
    """Options of the transitions, chosen on the validation parts of MovieLens-100K."""

    window: int = 7
    """How many positives later an item may follow."""
    backwards: float = 0.3
    """What the way from the later item back to the earlier one counts."""
    source_damping: float = 0.5
    """Power of popularity by which a liked item counts less."""
    target_damping: float = 0.3
    """Power of popularity by which a recommended item counts less."""


@dataclass(frozen=True)
class TransitionBlock(BlockAlgorithm):
    """Takes the dimensions that the others leave; only the last few positives count."""

    name: ClassVar[str] = "liked next"
    weights: HistoryWeights = field(
        default=HistoryWeights(floor=0.0, half_life=2.0, gain=0.7, away=0.14)
    )
    options: TransitionOptions = TransitionOptions()

    def size(self, _factors: int, _evidence: Evidence) -> None:
        """Take the dimensions that the others leave."""

    def fit(self, evidence: Evidence, size: int) -> tuple[Factors, Factors]:
        """Return history and ranking factors [n, size]."""
        return low_rank(transitions(evidence.positives, evidence.counts, self.options), size)


def transitions(
    positives: Interactions, counts: Numbers, options: TransitionOptions
) -> sparse.csr_array:
    """Return how often the column's item was liked soon after the row's [n, n], damped.

    `counts` [n] are the items' popularity.
    """
    followed = follow_counts(positives, options.window, options.backwards)
    source = sparse.diags_array((counts + 1) ** -options.source_damping)
    target = sparse.diags_array((counts + 1) ** -options.target_damping)
    return sparse.csr_array(source @ followed @ target)


def follow_counts(positives: Interactions, window: int, backwards: float = 0.0) -> sparse.csr_array:
    """Count how often a user liked the column's item within `window` positives after the row's.

    Each time also counts `backwards` in the opposite direction; [n, n].
    """
    order = np.lexsort((positives.time, positives.user))
    users, items = positives.user[order], positives.item[order]
    sources, targets, values = [], [], []
    for step in range(1, window + 1):
        same = users[:-step] == users[step:]
        earlier, later = items[:-step][same], items[step:][same]
        sources.append(earlier)
        targets.append(later)
        values.append(np.ones(len(earlier)))
        if backwards:
            sources.append(later)
            targets.append(earlier)
            values.append(np.full(len(earlier), backwards))
    shape = (positives.n_items, positives.n_items)
    entries = (np.concatenate(values), (np.concatenate(sources), np.concatenate(targets)))
    return sparse.csr_array(entries, shape=shape)
