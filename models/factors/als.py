"""The block of factors that users and items share: implicit-feedback ALS.

- Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets" (ICDM 2008):
  users' and items' factors are solved in turn, each side with the other held fixed.
- In the block, users are folded in by the linear part of their solution, since the exact one
  needs a solve for each user; it ranks no better (docs/experiments.md).

Trade-off: one dense system for each row, quick for tens of factors, slow for thousands.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Numbers
from models.data.matrices import user_item_matrix
from models.factors.blocks import BELOW, BlockAlgorithm, Evidence, HistoryWeights


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
    for row in range(matrix.shape[0]):
        liked = factors[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]]
        if len(liked):
            penalty = options.penalty * (len(liked) if options.penalty_by_count else 1)
            system = gram + penalty * np.eye(size) + options.confidence * liked.T @ liked
            solved[row] = np.linalg.solve(system, (1 + options.confidence) * liked.sum(axis=0))
    return solved
