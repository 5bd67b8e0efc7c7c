"""Whose lists some items could enter, by the k-th score of each user.

- A product of a batch of users with these items alone, in 32 bits, without what a user has seen.
- The ranker's score of the same pair may round otherwise. Each of the two differs from the exact
  one by at most d * 2^-24 * |user| * |item|, whatever the order of its sum (Higham, Accuracy and
  Stability of Numerical Algorithms, 3.1); so nothing enters that stays more than twice that below.
- A score equal to the k-th may enter: the order of the items decides then.

Trade-off: the longest of the items stands for all in the bound; a user within a few hundred
thousandths of it is ranked for nothing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.data.arrays import Factors, Rows
from models.serving.shortlist import OTHER_OPERATIONS, ROUNDING, banned_pairs, lengths

_SMALLEST = float(np.finfo(np.float32).tiny)  # below it rounding is absolute


class Entrants:
    """Items that lists may gain; none of them where everybody is ranked anyway."""

    def __init__(self, item_factors: Factors, rows: Rows, block_items: int) -> None:
        """Take the `rows` [m] of `item_factors` [n, d]; a product has `block_items` columns."""
        self._items = np.asarray(item_factors[rows])
        self._places = np.full(len(item_factors), -1, dtype=np.int64)
        self._places[rows] = np.arange(len(rows))
        self._width = block_items
        self._length = float(lengths(self._items.astype(np.float64)).max(initial=0))

    def may_enter(
        self, users: Factors, seen: Sequence[Rows], floors: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return for each of `users` [b, d] whether an item could enter the list.

        `floors` [b] are the k-th scores, NaN for a user who is to be ranked in any case; `seen`
        holds the item rows that a user must not get.
        """
        best = np.full(len(users), -np.inf, dtype=np.float32)
        owners, places = banned_pairs(seen, self._places)
        for start in range(0, len(self._items), self._width):
            scores = users @ self._items[start : start + self._width].T
            here = np.flatnonzero((places >= start) & (places < start + self._width))
            scores[owners[here], places[here] - start] = -np.inf
            np.maximum(best, scores.max(axis=1), out=best)
        operations = users.shape[1] + OTHER_OPERATIONS
        slack = operations * (
            ROUNDING * lengths(users.astype(np.float64)) * self._length + _SMALLEST
        )
        # not `>=`: what can't be compared is ranked
        return np.asarray(~(best < floors - slack), dtype=np.bool_)
