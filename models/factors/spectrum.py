"""The strongest axes of a sparse matrix, and EASE through them: no matrix of items by items.

- `spectrum` finds the leading eigenvectors V of X'X and their energies s^2 by randomised subspace
  iteration (Halko et al., SIAM Review 2011). A pass computes X'(XV) over blocks of rows, so that
  nothing of the rows' size is kept.
- With X'X about V s^2 V', EASE's projection (X'X + penalty)^-1 X'X is V f V', where
  f = s^2 / (s^2 + penalty): a penalty only changes f, so that one spectrum serves all of them. Its
  weights are the columns of the projection divided by 1 - h, h being its diagonal, with a zero
  diagonal. With all axes this is EASE itself.

Trade-off: what lies beyond the axes counts nothing. How much that costs in ranking is in
docs/scale.md.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator

from models.data.arrays import Factors, Numbers

ROWS_AT_ONCE = 16_384
PASSES, SPARE = 4, 20


@dataclass(frozen=True)
class Spectrum:
    """Orthonormal `axes` [n, r] of X'X, strongest first, and the `energy` [r] along each."""

    axes: Factors
    energy: Numbers

    def shares(self, penalty: float) -> Numbers:
        """Return what a ridge `penalty` leaves of each axis [r], 0 to 1."""
        return np.asarray(self.energy / (self.energy + penalty))

    def leverage(self, penalty: float) -> Numbers:
        """Return the diagonal [n] of EASE's projection, below 1."""
        squares = np.square(self.axes) @ self.shares(penalty).astype(np.float32)
        return np.minimum(squares.astype(np.float64), 1.0 - 1e-6)

    def item_weights(self, penalty: float, source: Numbers, target: Numbers) -> LinearOperator:
        """Return EASE's weights [n, n], rows times `source` [n] and columns times `target` [n]."""
        shares = self.shares(penalty).astype(np.float32)[:, None]
        leverage = self.leverage(penalty)
        rows = source.astype(np.float32)[:, None]
        columns = (target / (1.0 - leverage)).astype(np.float32)[:, None]
        diagonal = leverage.astype(np.float32)[:, None]

        def product(left: Factors, vectors: Factors, right: Factors) -> Factors:
            scaled = right * vectors
            projected = self.axes @ (shares * (self.axes.T @ scaled))
            return np.asarray(left * (projected - diagonal * scaled), dtype=np.float32)

        return LinearOperator(
            shape=(len(self.axes), len(self.axes)),
            dtype=np.float32,
            matvec=lambda vector: product(rows, vector.reshape(-1, 1), columns),
            rmatvec=lambda vector: product(columns, vector.reshape(-1, 1), rows),
            matmat=lambda vectors: product(rows, vectors, columns),
            rmatmat=lambda vectors: product(columns, vectors, rows),
        )


def spectrum(rows: sparse.csr_array, rank: int, further: Factors | None = None) -> Spectrum:
    """Return the `rank` strongest axes of the matrix X that has the `rows` [m, n], seeded.

    `further` [t, n] are rows of X that are dense. There are fewer axes where X has fewer rows or
    columns.
    """
    n_items = rows.shape[1]
    dense = np.zeros((0, n_items), dtype=np.float32) if further is None else further
    kept = min(rank, n_items, rows.shape[0] + len(dense))
    some = rows.astype(np.float32)
    width = min(kept + SPARE, n_items)
    axes = np.random.default_rng(0).standard_normal((n_items, width)).astype(np.float32)
    for _ in range(PASSES):
        # numpy's takes single precision for double, which costs more than twice the time
        axes, _ = linalg.qr(_gram_times(some, dense, axes), mode="economic", check_finite=False)
    inner = (axes.T @ _gram_times(some, dense, axes)).astype(np.float64)
    energy, turn = np.linalg.eigh((inner + inner.T) / 2)
    strongest = np.argsort(-energy)[:kept]
    turned = axes @ turn[:, strongest].astype(np.float32)
    return Spectrum(turned, np.maximum(energy[strongest], 0.0))


def _gram_times(rows: sparse.csr_array, dense: Factors, axes: Factors) -> Factors:
    """Return X'(X axes) [n, r] for X of sparse `rows` and `dense` ones."""
    product: Factors = dense.T @ (dense @ axes)
    for start in range(0, rows.shape[0], ROWS_AT_ONCE):
        block = sparse.csr_array(rows[start : start + ROWS_AT_ONCE])
        product += block.T @ (block @ axes)
    return product
