"""Matrices cut to few dimensions, and blocks of dimensions brought to one scale.

- `low_rank`: the two factors whose product is nearest to a matrix (randomised subspace iteration).
- `whiten`: turns a pair of history and ranking factors so that scores of different blocks compare.
- `principal_components`: what varies most among the rows of a sparse matrix.

Trade-off: our own iteration in single precision rather than scikit-learn's `randomized_svd`, since
the factors of a version have to come out the same to the bit.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from models.data.arrays import Factors, Numbers


def low_rank(
    matrix: Factors | sparse.csr_array | LinearOperator, rank: int
) -> tuple[Factors, Factors]:
    """Return factors [n, r] and [m, r] whose product is nearest to `matrix` [n, m].

    Randomised subspace iteration (Halko et al., SIAM Review 2011), seeded; where the matrix has a
    lower rank, the last dimensions are zero.
    """
    kept = min(rank, *matrix.shape)
    size = (matrix.shape[1], min(kept + 20, *matrix.shape))
    sketch = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    for _ in range(4):
        image, _ = np.linalg.qr(matrix @ sketch)
        sketch, _ = np.linalg.qr(matrix.T @ image)
    basis, _ = np.linalg.qr(matrix @ sketch)
    left, values, right = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    root = np.sqrt(values[:kept])
    history, ranking = (basis @ left)[:, :kept] * root, right[:kept].T * root
    padding = ((0, 0), (0, rank - kept))
    return (
        np.pad(history, padding).astype(np.float32),
        np.pad(ranking, padding).astype(np.float32),
    )


def whiten(history: Numbers | Factors, ranking: Numbers | Factors) -> tuple[Factors, Factors]:
    """Turn a block so that its ranking factors have mean zero and covariance one.

    Scores of a user change by a constant that is the same for all items.
    """
    centred = ranking.astype(np.float64) - ranking.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    strong = (values > 1e-6 * values.max(initial=0.0)) & (values > 1e-18)
    root = np.sqrt(np.where(strong, values, 1.0)) * strong
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=strong)
    return (
        np.asarray(history @ (vectors * root), dtype=np.float32),
        np.asarray(centred @ (vectors * inverse), dtype=np.float32),
    )


def principal_components(content: sparse.csr_array, rank: int) -> Factors:
    """Return the principal components [n, r] of the content, of mean square row length one."""
    rows, columns = content.shape
    mean = np.asarray(content.mean(axis=0)).ravel()
    ones = aslinearoperator(np.ones((rows, 1))) @ aslinearoperator(mean[None, :])
    centred = aslinearoperator(content) - ones
    scores, directions = low_rank(centred, min(rank, rows, columns))
    components = scores * np.linalg.norm(directions, axis=0)
    scale = np.sqrt(np.mean((components**2).sum(axis=1)))
    return np.asarray(components / max(float(scale), 1e-9), dtype=np.float32)
