"""The block of items that are liked together: EASE, cut to low rank.

- EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019): the item-to-item
  weights B that rebuild the rows X best under a ridge penalty and a zero diagonal: with
  P = (X'X + penalty)^-1, B = I - P / diag(P).
- With fewer rows than items it is solved over rows: with K = (XX' + penalty)^-1, the off-diagonal
  of B is X'KX / (1 - diag(X'KX)), so that the cost follows the smaller side.
- Above `EXACT_ITEMS` items the weights are those that the strongest axes of the rows leave
  (`models.factors.spectrum`), and no matrix of items by items, or users by items, is made.
- The block's rows are the users' positives, other interactions at a grade of their own, and, as
  further rows, the items' topics. Its weights are damped for popular items on both sides.

Trade-off: the strongest axes rank a little worse than all of them (docs/scale.md), and the exact
weights are dense, so that they end where a few gigabytes do.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from models.data.arrays import Factors
from models.data.matrices import user_item_matrix
from models.factors.blocks import BELOW, BlockAlgorithm, Evidence, HistoryWeights
from models.factors.low_rank import low_rank
from models.factors.spectrum import spectrum

EXACT_ITEMS = 10_000
LEAST_AXES, AXES_PER_DIMENSION = 512, 4


@dataclass(frozen=True)
class EaseOptions:
    """Options of EASE, chosen on the validation parts of MovieLens-100K."""

    penalty: float = 500.0
    """Ridge penalty on the diagonal: with more, only what many rows agree on counts."""
    content_weight: float = 10.0
    """Squared weight of the topics' rows beside the users'."""
    source_damping: float = 0.2
    """Power of popularity by which a liked item counts less."""
    target_damping: float = 0.1
    """Power of popularity by which a recommended item counts less."""
    below: float = 0.0
    """What an interaction below the threshold counts beside a positive."""


@dataclass(frozen=True)
class EaseBlock(BlockAlgorithm):
    """Half of the dimensions, less a sixteenth (at most 16); histories fade slowly."""

    name: ClassVar[str] = "liked together"
    weights: HistoryWeights = field(
        default=HistoryWeights(floor=0.2, half_life=5.0, gain=1.0, away=1.0, below=BELOW)
    )
    options: EaseOptions = EaseOptions()

    def size(self, factors: int, _evidence: Evidence) -> int:
        """Return the dimensions that it takes of `factors`."""
        return factors // 2 - min(16, factors // 16)

    def fit(self, evidence: Evidence, size: int) -> tuple[Factors, Factors]:
        """Return history and ranking factors [n, size]."""
        options, interactions = self.options, evidence.interactions
        rows = user_item_matrix(
            interactions, interactions.grades(evidence.threshold, options.below)
        )
        counts = np.asarray(rows.sum(axis=0)).ravel()
        topics = (np.sqrt(options.content_weight) * evidence.topics.T).astype(np.float32)
        # an item that nobody liked would otherwise speak by its topics alone
        source = np.where(counts > 0, (counts + 1.0) ** -options.source_damping, 0.0)
        target = np.asarray((counts + 1.0) ** -options.target_damping)
        if rows.shape[1] > EXACT_ITEMS:
            axes = spectrum(rows, axes_of(size), topics)
            return low_rank(axes.item_weights(options.penalty, source, target), size)
        weights = _exact_weights(rows, topics, options.penalty)
        damped = source[:, None] * weights * target
        return low_rank(np.asarray(damped, dtype=np.float32), size)


def axes_of(size: int) -> int:
    """Return how many axes of the rows are taken where weights are cut to `size` dimensions."""
    return max(LEAST_AXES, AXES_PER_DIMENSION * size)


def _exact_weights(rows: sparse.csr_array, topics: Factors, penalty: float) -> NDArray[np.floating]:
    """Return EASE's weights [n, n] that rebuild sparse `rows` [m, n] and `topics` [t, n]."""
    if rows.shape[0] + len(topics) >= rows.shape[1]:
        gram = (rows.T @ rows).toarray().astype(np.float32) + topics.T @ topics
        return weights_over_items(gram, penalty)
    return item_weights(np.vstack([rows.toarray().astype(np.float32), topics]), penalty)


def item_weights(rows: NDArray[np.floating], penalty: float) -> NDArray[np.floating]:
    """Return EASE's weights [n, n] that rebuild `rows` [m, n], fewer than items; diagonal zero."""
    projection = rows.T @ solved_over_rows(rows, rows @ rows.T, penalty)
    weights = projection / (1.0 - np.diag(projection))
    np.fill_diagonal(weights, 0.0)
    return weights


def weights_over_items(gram: NDArray[np.floating], penalty: float) -> NDArray[np.floating]:
    """Return EASE's weights [n, n] from X'X [n, n], with a zero diagonal."""
    penalised = gram.copy()
    penalised[np.diag_indices_from(penalised)] += penalty
    inverse = np.asarray(linalg.inv(penalised), dtype=gram.dtype)
    weights: NDArray[np.floating] = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def solved_over_rows(
    rows: NDArray[np.floating], gram: NDArray[np.floating], penalty: float
) -> NDArray[np.floating]:
    """Return (XX' + penalty)^-1 X [m, n] from X [m, n] and XX' [m, m]."""
    penalised = gram.copy()
    penalised[np.diag_indices_from(penalised)] += penalty
    return np.asarray(linalg.solve(penalised, rows, assume_a="pos"), dtype=rows.dtype)
