"""What a collaborative block is: some dimensions of the dot product in which users meet items.

- A `BlockAlgorithm` says how a block is fitted, how many dimensions it takes, and by which
  `HistoryWeights` a user's history is summed in it. Each is one class in one module.
- A `Block` is what is left of it once fitted: its dimensions and weights, as a model version
  keeps them.

A new block is a module with a subclass of `BlockAlgorithm`, a line in `models.factors.start.BLOCKS`
and a test; the contract that every block has to meet stands in `tests/factors/test_blocks.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from models.data.arrays import Factors, Numbers
from models.data.interactions import Interactions

# What people watch, buy or read tells what they are interested in, also where it disappoints: what
# such an item counts in a history, and such an interaction where a block is fitted to it.
BELOW, BELOW_IN_FIT = 0.3, 0.5


@dataclass(frozen=True)
class HistoryWeights:
    """How much the items of a history count in a block, and the block among the others.

    The items' history factors are summed by `floor` + .5 ** (age / `half_life`), those of items
    that weren't liked times `below`, and the sum is made a unit vector; `gain` turns into `away`
    with the days since the newest interaction.
    """

    floor: float
    """What an item counts however old it is."""
    half_life: float
    """Age at which the fading part is halved, in interactions since; the newest has age 0."""
    gain: float
    """Length of the block's part of a user vector, right after the newest interaction."""
    away: float
    """The same for a user who comes back after days."""
    below: float = 0.0
    """What an item with a value below the threshold counts beside one that was liked."""


@dataclass(frozen=True, kw_only=True)
class Block(HistoryWeights):
    """A fitted block: its name, its dimensions and its weights."""

    name: str
    size: int


@dataclass(frozen=True)
class Evidence:
    """What blocks are fitted to.

    `interactions` of the training part, of whatever value, of which those at or above `threshold`
    are positives; `topics` [n, t]: what the items' texts and attributes have in common, as
    principal components of mean square row length one.
    """

    interactions: Interactions
    threshold: float
    topics: Factors

    @cached_property
    def positives(self) -> Interactions:
        """The interactions at or above the threshold."""
        return self.interactions.positives(self.threshold)

    @cached_property
    def counts(self) -> Numbers:
        """The number of positives of each item [n]."""
        counts = np.bincount(self.positives.item, minlength=self.positives.n_items)
        return counts.astype(np.float64)


@dataclass(frozen=True)
class BlockAlgorithm(ABC):
    """How a block is fitted, the dimensions it takes and how it weighs a history."""

    name: ClassVar[str]
    weights: HistoryWeights

    @abstractmethod
    def size(self, factors: int, evidence: Evidence) -> int | None:
        """Return the dimensions that it takes of `factors`; None: those that the others leave."""

    @abstractmethod
    def fit(self, evidence: Evidence, size: int) -> tuple[Factors, Factors]:
        """Return history and ranking factors [n, size]; their product scores items by items.

        They needn't be whitened yet. An item without positives gets history factors of zero,
        unless something but positives speaks for it.
        """
