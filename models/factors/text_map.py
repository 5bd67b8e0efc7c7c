"""The map from text and attributes to factors, solved in closed form.

- Ridge regression over the known items, in its dual form: n x n, whatever the number of columns.
- The text part becomes the item tower's linear map, the attribute part a factor for each column.

Trade-off: solved anew whenever text vectors have changed, instead of being learned by gradients:
exact, and seconds for 10,000 items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from models.data.arrays import Factors

TEXT_WEIGHT, PENALTY = 0.5, 3.0


@dataclass(frozen=True)
class TextMap:
    """Factors of an item = text vector @ weights + bias + attribute columns @ attributes."""

    weights: Factors
    bias: Factors
    attributes: Factors


def content_features(vectors: Factors, columns: sparse.csr_array) -> sparse.csr_array:
    """Return text and attribute features [n, w + c], each side at its weight."""
    centred, scale = _text_features(vectors)
    return sparse.csr_array(sparse.hstack([sparse.csr_array(centred * scale), columns]))


def solve_text_map(
    vectors: Factors, columns: sparse.csr_array, targets: Factors, known: NDArray[np.bool_]
) -> TextMap:
    """Fit `targets` [n, t] of the `known` items from text vectors [n, w] and columns [n, c]."""
    centred, scale = _text_features(vectors)
    mean = targets[known].mean(axis=0)
    text, attributes = centred[known] * scale, sparse.csr_array(columns[known])
    kernel = text @ text.T + (attributes @ attributes.T).toarray()
    kernel[np.diag_indices_from(kernel)] += PENALTY
    dual = linalg.solve(kernel, targets[known] - mean, assume_a="pos")
    weights = scale * (text.T @ dual)
    return TextMap(
        weights.astype(np.float32),
        (mean - vectors.mean(axis=0) @ weights).astype(np.float32),
        np.asarray(attributes.T @ dual, dtype=np.float32),
    )


def _text_features(vectors: Factors) -> tuple[Factors, float]:
    centred = vectors - vectors.mean(axis=0)
    mean_square = float((centred**2).sum(axis=1).mean())
    return centred, float(np.sqrt(TEXT_WEIGHT / max(mean_square, 1e-12)))
