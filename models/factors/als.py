"""The block of factors that users and items share: implicit-feedback ALS.

- Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (ICDM 2008):
  users' and items' factors are solved in turn, each side with the other held fixed.
- In the block, users are folded in by the linear part of their solution, since the exact one
  needs a solve for each user; it ranks no better (docs/experiments.md).

Rows with about as many positives are solved together, filled up with zeros, which saves a Python
call for each row.

Trade-off: one dense system for each row, quick for tens of factors, slow for thousands.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Numbers, Rows
from models.data.matrices import user_item_matrix
from models.factors.blocks import BELOW, BlockAlgorithm, Evidence, HistoryWeights

MOST_FILLED = 100_000  # places of positives in the rows that are solved together


@dataclass(frozen=True)
class AlsOptions:
    """Options of ALS, chosen on the validation parts of MovieLens-100K."""

    rank: int = 32
    """Dimensions of the factors; the block takes fewer where it may have no more than an eighth."""
    confidence: float = 4.0
    """How much more a positive counts than a pair without one."""
    penalty: float = 5.0
    """Ridge penalty on the factors."""
    rounds: int = 10
    """How often both sides are solved."""
    penalty_by_count: bool = False
    """Whether the penalty grows with the positives of the row, as in Spark's ALS."""


@dataclass(frozen=True)
class AlsBlock(BlockAlgorithm):
    """An eighth of the dimensions, at most the rank of ALS; histories fade slowly."""

    name: ClassVar[str] = "factors"
    weights: HistoryWeights = field(
        default=HistoryWeights(floor=0.2, half_life=5.0, gain=0.3, away=0.12, below=BELOW)
    )
    options: AlsOptions = AlsOptions()

    def size(self, factors: int, _evidence: Evidence) -> int:
        """Return the dimensions that it takes of `factors`."""
        return min(self.options.rank, factors // 8)

    def fit(self, evidence: Evidence, size: int) -> tuple[Factors, Factors]:
        """Return history and ranking factors [n, size]."""
        options = self.options
        users = user_item_matrix(evidence.positives)
        items = sparse.csr_array(users.T)
        ranking: Numbers = np.random.default_rng(0).normal(0.0, 0.1, (items.shape[0], size))
        for _ in range(options.rounds):
            ranking = solved_rows(items, solved_rows(users, ranking, options), options)
        inverse = np.linalg.inv(ranking.T @ ranking + options.penalty * np.eye(size))
        return (ranking @ inverse).astype(np.float32), ranking.astype(np.float32)


def solved_rows(matrix: sparse.csr_array, factors: Numbers, options: AlsOptions) -> Numbers:
    """Return the factors [m, f] of the rows of `matrix` [m, n] that fit `factors` [n, f] best.

    Every stored entry of `matrix` is a positive; a row without any has factors of zero.
    """
    size = factors.shape[1]
    gram = factors.T @ factors
    solved = np.zeros((matrix.shape[0], size))
    counts = np.diff(matrix.indptr)
    padded = np.vstack([factors, np.zeros((1, size))])
    for rows in _alike(counts):
        length = int(counts[rows].max())
        place = matrix.indptr[rows, None] + np.arange(length)
        there = np.arange(length) < counts[rows, None]
        items = matrix.indices[np.minimum(place, len(matrix.indices) - 1)]
        liked = padded[np.where(there, items, len(factors))]
        penalty = options.penalty * (counts[rows] if options.penalty_by_count else 1)
        systems = gram + options.confidence * (liked.transpose(0, 2, 1) @ liked)
        systems += np.reshape(penalty, (-1, 1, 1)) * np.eye(size)
        right = (1 + options.confidence) * liked.sum(axis=1)
        solved[rows] = np.linalg.solve(systems, right[:, :, None])[:, :, 0]
    return solved


def _alike(counts: Rows) -> Iterator[Rows]:
    """Yield the rows with positives in groups of about as many, none large in memory."""
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    first = 0
    while first < len(order):
        least = int(counts[order[first]])
        longest = least + least // 8
        last = int(np.searchsorted(counts[order], longest, side="right"))
        last = min(last, first + max(1, MOST_FILLED // longest))
        yield order[first:last]
        first = last
