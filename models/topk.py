"""The ranker: the k best items of each user, exactly, over blocks of items.

- `build_ranker` writes `ranker.onnx`, one graph of matrix product, filters and top-k: `Gemm` with
  the items' bias (0, or -infinity for an item that isn't to be ranked), `ScatterND` of -infinity
  where a user must not get an item, `TopK`.
- `Ranker` runs it over blocks of items of at most `block_items` columns, and merges the blocks'
  lists with a stable sort. Equal scores stand in the order of the item rows.
- Vectors with NaN or infinity, or so long that a product could overflow, are refused by name:
  NaN would otherwise win the top k.

A row of the result has the same bits whatever users stand beside it: every product has the shape
[`batch_users`, `block_items`], filled with zeros where users are left over, because ONNX Runtime
picks its kernel and the order of its sums by shape.

Trade-off: wide blocks. A top-k for each of many narrow blocks costs more than it saves in cache,
so a block is as wide as its share of the memory budget, mostly the whole catalogue.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.dataset import Factors, Rows
from models.errors import InputError
from models.serving import session

NO_ITEM = -1
_OPSET, _IR_VERSION = 18, 9
_ROWS_AT_ONCE = 65_536


def build_ranker(path: Path) -> None:
    """Write the ranker's graph to `path`; the same bytes every time.

    Inputs: user_factors [b, d], item_factors [n, d], item_bias [n], excluded [m, 2] int64 as
    (row, column), k int64 [1]. Outputs: scores [b, k] and rows [b, k] int64, best first, equal
    scores by column.
    """
    real, whole = TensorProto.FLOAT, TensorProto.INT64
    nodes = [
        helper.make_node(
            "Gemm", ["user_factors", "item_factors", "item_bias"], ["products"], transB=1
        ),
        helper.make_node("Shape", ["excluded"], ["excluded_count"], end=1),
        helper.make_node("Expand", ["minus_infinity", "excluded_count"], ["nothing"]),
        helper.make_node("ScatterND", ["products", "excluded", "nothing"], ["allowed"]),
        helper.make_node("TopK", ["allowed", "k"], ["scores", "rows"], largest=1, sorted=1),
    ]
    graph = helper.make_graph(
        nodes,
        "ranker",
        inputs=[
            helper.make_tensor_value_info("user_factors", real, ["users", "dim"]),
            helper.make_tensor_value_info("item_factors", real, ["items", "dim"]),
            helper.make_tensor_value_info("item_bias", real, ["items"]),
            helper.make_tensor_value_info("excluded", whole, ["pairs", 2]),
            helper.make_tensor_value_info("k", whole, [1]),
        ],
        outputs=[
            helper.make_tensor_value_info("scores", real, ["users", "best"]),
            helper.make_tensor_value_info("rows", whole, ["users", "best"]),
        ],
        initializer=[numpy_helper.from_array(np.array(-np.inf, np.float32), "minus_infinity")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


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
        candidates: NDArray[np.bool_],
        batch_users: int,
        block_items: int,
        threads: int,
        device: str = "cpu",
    ) -> None:
        """Open the graph over `item_factors` [n, d], a memory map or an array, never copied.

        `candidates` [n] says which items are ranked; one product is `batch_users` rows by at most
        `block_items` columns.
        Raises InputError on NaN or infinity, ValueError where shapes don't fit.
        """
        if candidates.shape != (len(item_factors),):
            raise ValueError(
                f"candidates: expected a mask of {len(item_factors)} items, got {candidates.shape}"
            )
        if min(batch_users, block_items) < 1:
            raise ValueError(
                f"batch_users, block_items: expected at least 1, got {batch_users}, {block_items}"
            )
        self._item_length = longest("item_factors", item_factors)
        self._items = item_factors
        self._bias = np.where(candidates, np.float32(0), np.float32(-np.inf))
        self._batch, self._block = batch_users, block_items
        self._session = session(ranker_path, threads, device)

    def top_k(
        self, user_factors: Factors, excluded: Sequence[Rows], k: int
    ) -> tuple[Factors, Rows]:
        """Return scores [b, k] and item rows [b, k] of the k best items of each user, best first.

        `excluded` holds for each user the item rows not to be ranked, repeats allowed. Where
        fewer than k candidates are left, the rest is NO_ITEM with a score of -infinity.
        Raises InputError on NaN, infinity or overflow, ValueError where shapes don't fit.
        """
        self._check(user_factors, excluded, k)
        width = min(k, len(self._items))
        scores = np.full((len(user_factors), k), -np.inf, dtype=np.float32)
        rows = np.full((len(user_factors), k), NO_ITEM, dtype=np.int64)
        for start in range(0, len(user_factors) if width else 0, self._batch):
            batch = slice(start, start + self._batch)
            best, where = self._blocks(user_factors[batch], _pairs(excluded[batch]), width)
            scores[batch, :width] = best
            rows[batch, :width] = np.where(np.isneginf(best), NO_ITEM, where)
        return scores, rows

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

    def _blocks(self, user_factors: Factors, pairs: Rows, width: int) -> tuple[Factors, Rows]:
        """Return one batch's best `width` scores and rows; `pairs` are sorted by item."""
        users = np.zeros((self._batch, self._items.shape[1]), dtype=np.float32)
        users[: len(user_factors)] = user_factors
        best = self._block_top_k(users, pairs, width, 0)
        for start in range(self._block, len(self._items), self._block):
            best = _merged(best, self._block_top_k(users, pairs, width, start), width)
        return best[0][: len(user_factors)], best[1][: len(user_factors)]

    def _block_top_k(
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
