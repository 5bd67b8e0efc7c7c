"""The search by `ranker.onnx`: product, filters and top-k in one graph, block after block.

- Every product has the shape [`batch_users`, `block_items`], filled with zeros where users are
  left over: ONNX Runtime picks its kernel and the order of its sums by shape.
- The lists of the blocks are merged by a stable sort, so that ties stay in the order of the rows.

Trade-off: wide blocks. A top-k for each of many narrow blocks costs more than it saves in cache.
"""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.data.arrays import Factors, Rows


class GraphSearch:
    """Top k by an open session of the graph that `build_ranker` of `ranker_graph.py` wrote."""

    def __init__(
        self,
        session: ort.InferenceSession,
        item_factors: Factors,
        rankable: NDArray[np.bool_],
        batch_users: int,
        block_items: int,
    ) -> None:
        """Search `item_factors` [n, d], of which those in the mask `rankable` [n] are ranked."""
        self._session, self._items = session, item_factors
        self._bias = np.where(rankable, np.float32(0), np.float32(-np.inf))
        self._batch, self._block = batch_users, block_items

    def top(
        self, user_factors: Factors, excluded: Sequence[Rows], width: int
    ) -> tuple[Factors, Rows]:
        """Return one batch's best `width` scores and rows, at most as many as there are items.

        A score of -infinity stands where the rankable items ran out.
        """
        users = np.zeros((self._batch, self._items.shape[1]), dtype=np.float32)
        users[: len(user_factors)] = user_factors
        pairs = _pairs(excluded)
        best = self._block_top(users, pairs, width, 0)
        for start in range(self._block, len(self._items), self._block):
            best = _merged(best, self._block_top(users, pairs, width, start), width)
        return best[0][: len(user_factors)], best[1][: len(user_factors)]

    def _block_top(
        self, users: Factors, pairs: Rows, width: int, start: int
    ) -> tuple[Factors, Rows]:
        end = min(start + self._block, len(self._items))
        first, last = np.searchsorted(pairs[:, 1], [start, end])
        scores, rows = self._session.run(
            ["scores", "rows"],
            {
                "user_factors": users,
                "item_factors": self._items[start:end],
                "item_bias": self._bias[start:end],
                "excluded": pairs[first:last] - [0, start],
                "k": np.array([min(width, end - start)], dtype=np.int64),
            },
        )
        return scores, rows + start


def _pairs(excluded: Sequence[Rows]) -> Rows:
    """Return (user, item) pairs [m, 2] sorted by item, so that a block's pairs are one slice."""
    users = np.repeat(np.arange(len(excluded)), [len(items) for items in excluded])
    items = np.concatenate([np.zeros(0, dtype=np.int64), *excluded]).astype(np.int64)
    order = np.argsort(items, kind="stable")
    return np.stack([users[order], items[order]], axis=1).astype(np.int64)


def _merged(
    left: tuple[Factors, Rows], right: tuple[Factors, Rows], width: int
) -> tuple[Factors, Rows]:
    """Return the best `width` of two sorted lists; `left` holds the lower rows and wins ties."""
    scores = np.concatenate([left[0], right[0]], axis=1)
    rows = np.concatenate([left[1], right[1]], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :width]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
