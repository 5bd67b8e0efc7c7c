"""The map from text and attributes to factors, solved in closed form.

- Ridge regression over the known items. Up to `DUAL_ITEMS` of them, or where there are fewer items
  than columns, in its dual form: n x n, whatever the number of columns. Else in its primal form:
  (w + c) x (w + c), whatever the number of items.
- The text part becomes the item tower's linear map, the attribute part a factor for each column.
- Where both systems are larger than `LARGEST_SYSTEM`, the map is learned from as many items, drawn
  at random, and a warning says so.

Trade-off: solved anew whenever text vectors have changed, instead of being learned by gradients:
exact, and seconds.
"""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from models.data.arrays import Factors, Rows
from models.data.matrices import drawn

TEXT_WEIGHT, PENALTY = 0.5, 3.0
DUAL_ITEMS, LARGEST_SYSTEM, ITEMS_AT_ONCE = 8_000, 20_000, 16_384

_log = logging.getLogger("nightrank.train")


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
    learned = _learned_from(np.flatnonzero(known), vectors.shape[1] + columns.shape[1])
    mean = targets[learned].mean(axis=0)
    solve = _by_items if _few(len(learned), vectors.shape[1] + columns.shape[1]) else _by_columns
    text, attributes = solve(
        centred[learned] * scale, sparse.csr_array(columns[learned]), targets[learned] - mean
    )
    weights = scale * text
    return TextMap(
        weights.astype(np.float32),
        (mean - vectors.mean(axis=0) @ weights).astype(np.float32),
        attributes.astype(np.float32),
    )


def _few(items: int, columns: int) -> bool:
    """Return whether the system of the items is to be solved, and not that of the columns."""
    return items <= max(DUAL_ITEMS, min(columns, LARGEST_SYSTEM))


def _learned_from(known: Rows, columns: int) -> Rows:
    """Return the `known` items, or a sample where neither system would be small enough."""
    if min(len(known), columns) <= LARGEST_SYSTEM:
        return known
    _log.warning(
        "the map from texts to factors is learned from %d of %d items, drawn at random: with %d "
        "columns of texts and attributes all of them don't fit",
        LARGEST_SYSTEM,
        len(known),
        columns,
    )
    return drawn(known, LARGEST_SYSTEM)


def _by_items(
    text: Factors, attributes: sparse.csr_array, wanted: Factors
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the weights of texts and attributes by the system of the items [n, n]."""
    kernel = text @ text.T + (attributes @ attributes.T).toarray()
    kernel[np.diag_indices_from(kernel)] += PENALTY
    dual = linalg.solve(kernel, wanted, assume_a="pos")
    return text.T @ dual, np.asarray(attributes.T @ dual)


def _by_columns(
    text: Factors, attributes: sparse.csr_array, wanted: Factors
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the weights of texts and attributes by the system of the columns, in 64 bits."""
    width, columns = text.shape[1], attributes.shape[1]
    system = PENALTY * np.eye(width + columns)
    right = np.zeros((width + columns, wanted.shape[1]))
    for start in range(0, len(text), ITEMS_AT_ONCE):
        block = slice(start, start + ITEMS_AT_ONCE)
        dense, thin = text[block].astype(np.float64), sparse.csr_array(attributes[block])
        system[:width, :width] += dense.T @ dense
        system[width:, :width] += thin.T @ dense
        system[width:, width:] += (thin.T @ thin).toarray()
        right[:width] += dense.T @ wanted[block]
        right[width:] += thin.T @ wanted[block]
    solved = linalg.solve(system, right, assume_a="pos", lower=True, overwrite_a=True)
    return solved[:width], solved[width:]


def _text_features(vectors: Factors) -> tuple[Factors, float]:
    centred = vectors - vectors.mean(axis=0)
    mean_square = float((centred**2).sum(axis=1).mean())
    return centred, float(np.sqrt(TEXT_WEIGHT / max(mean_square, 1e-12)))
