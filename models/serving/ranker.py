"""The ranker: the k best items of each user, exactly.

- On the CPU a shortlist in 8 bits (`models.serving.shortlist`) is scored in 32 bits, a dot product
  for each pair, and sorted: scores downwards, equal scores in the order of the item rows.
- On a GPU `ranker.onnx` does all in one graph of matrix product, filters and top-k: `Gemm` with
  the items' bias (0, or -infinity for an item that isn't to be ranked), `ScatterND` of -infinity
  where a user must not get an item, `TopK`; the lists of blocks are merged by a stable sort.
- Vectors with NaN or infinity, or so long that a product could overflow, are refused by name:
  NaN would otherwise win the top k.

A row of the result has the same bits whatever users stand beside it: on the CPU a pair's score
depends on its two vectors alone; in the graph every product has the shape [`batch_users`,
`block_items`], filled with zeros, because ONNX Runtime picks its kernel by shape.

Trade-off: two ways to one list. The graph ran on the CPU too, and took twice as long.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from models.data.arrays import Factors, Rows
from models.errors import InputError
from models.serving.graph_search import GraphSearch
from models.serving.runtime import open_session
from models.serving.shortlist import Shortlist

NO_ITEM = -1
_ROWS_AT_ONCE = 65_536
_ROWS_IN_CACHE, _USERS_IN_CACHE, _CALIBRATED_USERS = 2048, 128, 512
_ROW_BITS = 32


def longest(name: str, factors: Factors, ids: Sequence[str] | None = None) -> float:
    """Return the greatest Euclidean length among the rows of `factors` [n, d], 0 for none.

    Raises InputError that names the first row with NaN or infinity, by its id where `ids` are
    given. Runs over blocks, so that a memory-mapped array is never copied as a whole.
    """
    greatest = 0.0
    for start in range(0, len(factors), _ROWS_AT_ONCE):
        block = factors[start : start + _ROWS_AT_ONCE]
        squares = np.einsum("nd,nd->n", block, block, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(squares))
        if len(bad):
            row = start + int(bad[0])
            label = f"row {row}" if ids is None else f"row {row}, id {ids[row]!r}"
            raise InputError(f"{name}, {label}: holds NaN or infinity, expected finite numbers")
        greatest = max(greatest, float(np.sqrt(squares.max())))
    return greatest


class Ranker:
    """Top k of every user over one catalogue's item factors; one for each worker."""

    def __init__(
        self,
        ranker_path: Path,
        item_factors: Factors,
        rankable: NDArray[np.bool_],
        batch_users: int,
        block_items: int,
        threads: int,
        device: str = "cpu",
    ) -> None:
        """Rank over `item_factors` [n, d], a memory map or an array.

        `rankable` [n] says which items are ranked; one product is `batch_users` rows by at most
        `block_items` columns; `ranker_path` is the graph for "cuda".
        Raises InputError on NaN or infinity, ValueError where shapes don't fit.
        """
        if rankable.shape != (len(item_factors),):
            raise ValueError(
                f"rankable: expected a mask of {len(item_factors)} items, got {rankable.shape}"
            )
        if min(batch_users, block_items) < 1:
            raise ValueError(
                f"batch_users, block_items: expected at least 1, got {batch_users}, {block_items}"
            )
        self._item_length = longest("item_factors", item_factors)
        self._items = np.asarray(item_factors)
        self._ranked = int(rankable.sum())
        self._batch, self._threads = batch_users, threads
        if threads == 1 and device == "cpu":  # with more, calls would wait for each other
            self._batch = min(batch_users, _USERS_IN_CACHE)
        self._graph: GraphSearch | None = None
        if device != "cpu":
            opened = open_session(ranker_path, threads, device)
            self._graph = GraphSearch(opened, self._items, rankable, batch_users, block_items)
        self._shortlist = Shortlist(self._items, rankable, block_items)
        self.examined = 0
        """Pairs that the shortlists left to be scored in 32 bits, so far."""

    def top_k(
        self, user_factors: Factors, excluded: Sequence[Rows], k: int
    ) -> tuple[Factors, Rows]:
        """Return scores [b, k] and item rows [b, k] of the k best items of each user, best first.

        `excluded` holds for each user the item rows not to be ranked, repeats allowed. Where
        fewer than k rankable items are left, the rest is NO_ITEM with a score of -infinity.
        Raises InputError on NaN, infinity or overflow, ValueError where shapes don't fit.
        """
        self._check(user_factors, excluded, k)
        width = min(k, self._ranked)
        scores = np.full((len(user_factors), k), -np.inf, dtype=np.float32)
        rows = np.full((len(user_factors), k), NO_ITEM, dtype=np.int64)
        if not width or not len(user_factors):
            return scores, rows

        def fill(start: int) -> int:
            batch = slice(start, start + self._batch)
            best, where, examined = self._batch_top_k(user_factors[batch], excluded[batch], width)
            scores[batch, :width] = best
            rows[batch, :width] = np.where(np.isneginf(best), NO_ITEM, where)
            return examined

        starts = range(0, len(user_factors), self._batch)
        if self._graph is not None:
            for start in starts:
                fill(start)
            return scores, rows
        # a BLAS that spins on other cores takes them from the other batches
        with _blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor(self._threads) as pool:
            self._shortlist.calibrate(user_factors[:_CALIBRATED_USERS])
            self.examined += sum(pool.map(fill, starts))
        return scores, rows

    def _batch_top_k(
        self, users: Factors, excluded: Sequence[Rows], width: int
    ) -> tuple[Factors, Rows, int]:
        """Return scores and rows [b, width], and how many pairs were scored in 32 bits."""
        if self._graph is not None:
            return *self._graph.top(users, excluded, width), 0
        lists, ceiling = self._shortlist.of(users, excluded, width)
        scores, rows = _best(*_scored(users, self._items, lists, width), width)
        examined = sum(map(len, lists))
        short = np.flatnonzero(scores[:, -1] < ceiling)
        if len(short):  # some item off the list may belong here
            banned = [excluded[user] for user in short.tolist()]
            floor = scores[short, -1].astype(np.float64)
            lists, _ = self._shortlist.of(users[short], banned, width, floor)
            found = _scored(users[short], self._items, lists, width)
            scores[short], rows[short] = _best(*found, width)
            examined += sum(map(len, lists))
        return scores, rows, examined

    def _check(self, user_factors: Factors, excluded: Sequence[Rows], k: int) -> None:
        if user_factors.ndim != 2 or user_factors.shape[1] != self._items.shape[1]:
            raise ValueError(
                f"user_factors: expected [users, {self._items.shape[1]}], got {user_factors.shape}"
            )
        if len(excluded) != len(user_factors):
            raise ValueError(
                f"excluded: expected {len(user_factors)} lists of item rows, got {len(excluded)}"
            )
        if k < 1:
            raise ValueError(f"k: expected at least 1, got {k}")
        length = longest("user_factors", user_factors)
        if length * self._item_length >= float(np.finfo(np.float32).max):
            raise InputError(
                f"user_factors and item_factors reach lengths of {length:.3g} and "
                f"{self._item_length:.3g}: their product overflows a 32-bit float"
            )


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _scored(users: Factors, items: Factors, lists: list[Rows], width: int) -> tuple[Factors, Rows]:
    """Return scores and rows [b, at least `width`] of the lists; -infinity and 0 fill them up."""
    shape = (len(users), max(width, *map(len, lists)))
    lengths = np.array([len(rows) for rows in lists])
    rows, owners = np.concatenate(lists), np.repeat(np.arange(len(users)), lengths)
    found = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), _ROWS_IN_CACHE):
        some = slice(start, start + _ROWS_IN_CACHE)
        vectors = items.take(rows[some], axis=0, mode="clip")
        # vecdot and not matmul: its sum never depends on where a row stands
        np.vecdot(vectors, users.take(owners[some], axis=0), out=found[some])
    inside = np.arange(shape[1]) < lengths[:, None]
    scores, listed = np.full(shape, -np.inf, dtype=np.float32), np.zeros(shape, dtype=np.int64)
    scores[inside], listed[inside] = found, rows
    return scores, listed


def _best(scores: Factors, rows: Rows, width: int) -> tuple[Factors, Rows]:
    """Return the best `width` scores and rows, best first, equal scores by row.

    One sort of whole numbers: the bits of a score, which fall as it rises, above those of the row.
    """
    bits = _rising((scores + np.float32(0)).view(np.int32))  # -0 becomes 0
    keys = (~bits).astype(np.int64) << _ROW_BITS | rows
    keys.sort(axis=1)
    best = keys[:, :width]
    bits = ~(best >> _ROW_BITS).astype(np.int32)
    return _rising(bits).view(np.float32), best & (2**_ROW_BITS - 1)


def _rising(bits: NDArray[np.int32]) -> NDArray[np.int32]:
    """Turn the bits of floats into whole numbers that rise as the floats do, and back."""
    return bits ^ ((bits >> 31) & np.int32(2**31 - 1))
