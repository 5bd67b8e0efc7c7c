"""A shortlist for each user that holds the k best items for certain, at a third of the product.

- Factors are coded in 8 bits, each vector with a step of its own. One integer product in ONNX
  Runtime gives every score up to an error that Cauchy and Schwarz bound by what coding took away:
  |u . i - u' . i'| <= |u| |i - i'| + |u - u'| |i'|.
- Before that the axes are balanced (each as wide for users as for items) and turned, so that no
  axis needs most of the range; a dot product doesn't change when both sides are turned alike.
- The k-th greatest of the maxima over groups of items estimates the k-th score. What reaches it
  within the error is listed; the rest scores less than a ceiling. Where the k-th score of the
  list, in 32 bits, is below that ceiling, the list is made again, with that score as the ceiling.

How the axes are balanced, how wide blocks are and who stands beside whom change the length of the
lists, never what is best among them.

Trade-off: bounds for the worst case. A list is about twice k; where scores lie closer together
than 8 bits can tell, lists grow up to the whole catalogue, and are right but slow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.fft import dct

from models.data.arrays import Factors, Rows
from models.serving.runtime import open_session

_OPSET, _IR_VERSION = 18, 9
_ITEM_LEVELS = 127
_TINY = np.float32(1e-30)  # a step that divides nothing by zero
_LOWEST = np.finfo(np.float32).min  # greater than an excluded item's -infinity
ROUNDING = 2.0**-23  # error of an operation in 32 bits, doubled: two scores are compared
OTHER_OPERATIONS = 8  # counted besides the d that add up a score
_MARGIN = 0.25  # how far below its estimate the k-th score may lie at first, in errors
_DAMPING = 0.01  # keeps an axis that a few users lack from being stretched for all
_GROUPS_PER_ITEM_WANTED, _WIDEST_GROUP, _ITEMS_AT_ONCE = 6, 32, 4096

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class _Block:
    """Codes [d, w] of w items, their steps [w] and rows [w]."""

    codes: NDArray[np.int8]
    steps: Factors
    rows: Rows


@dataclass(frozen=True)
class _Coded:
    """Codes [b, d] of users, the steps [b] in which their scores count, the errors [b] in steps."""

    codes: NDArray[np.uint8]
    steps: Doubles
    errors: Factors


class Shortlist:
    """Shortlists over one catalogue; coded at the first call, balanced by that call's users."""

    def __init__(
        self, item_factors: Factors, rankable: NDArray[np.bool_], block_items: int
    ) -> None:
        """Take `item_factors` [n, d] and the mask [n] of the items that are ranked."""
        self._items = np.asarray(item_factors)
        self._rows = np.flatnonzero(rankable)
        self._width = block_items
        self._places = np.full(len(rankable), -1, dtype=np.int64)
        self._places[self._rows] = np.arange(len(self._rows))
        self._turn: Doubles = np.zeros((0, 0))
        self._blocks: list[_Block] = []
        self._length = self._loss = self._unit = 0.0

    def calibrate(self, users: Factors) -> None:
        """Code the items, with axes balanced for `users` [b, d]; only the first call does."""
        if not self._turn.size:
            balance = _balance(self._items[self._rows[:: 1 + len(self._rows) // 4096]], users)
            mixing = _mixing(self._items.shape[1])
            # items whose entries are at most 1 keep every product within 32 bits
            greatest = max(float(self._items.max(initial=0)), -float(self._items.min(initial=0)))
            self._unit = max(greatest, float(_TINY))
            self._code(mixing / (balance * self._unit)[:, None])
            self._turn = mixing * balance[:, None]

    def of(
        self, users: Factors, excluded: Sequence[Rows], k: int, floor: Doubles | None = None
    ) -> tuple[list[Rows], Doubles]:
        """Return item rows for each of `users` [b, d], ascending, and a ceiling [b] for the rest.

        A rankable item that isn't listed scores less than its user's ceiling. `floor` [b] is the
        ceiling to use; without it there is one below which the k-th score hardly ever lies.
        `excluded` holds the item rows that a user must not get. `calibrate` has run before.
        """
        coded = self._coded_users(users)
        owners, places = banned_pairs(excluded, self._places)
        best = np.full((len(users), k), -np.inf, dtype=np.float32)
        least = best[:, 0] if floor is None else _quotient(floor, coded.steps)
        found = []
        for number, block in enumerate(self._blocks):
            scores = _product(coded.codes, block)
            here = np.flatnonzero(places // self._width == number)
            scores[owners[here], places[here] % self._width] = -np.inf
            if floor is None:
                best = _k_greatest(best, _group_maxima(scores, k))
                least = best[:, 0] - _MARGIN * coded.errors
            counts, flat, columns = _reaching(scores, least - coded.errors)
            # read again only where a later block can raise what has to be reached
            reached = scores.ravel().take(flat if len(self._blocks) > 1 else flat[:0])
            found.append((counts, block.rows.take(columns), reached))
        ceiling = np.full(len(users), -np.inf)
        np.multiply(least, coded.steps, out=ceiling, where=np.isfinite(least))
        return _by_user(found, least - coded.errors), ceiling

    def _code(self, turn: Doubles) -> None:
        for start in range(0, len(self._rows), self._width):
            rows = self._rows[start : start + self._width]
            codes = np.empty((len(turn), len(rows)), dtype=np.int8)
            steps = np.empty(len(rows), dtype=np.float32)
            for first in range(0, len(rows), _ITEMS_AT_ONCE):
                part = slice(first, first + _ITEMS_AT_ONCE)
                items = self._items[rows[part]].astype(np.float64) @ turn
                widest = (np.abs(items).max(axis=1) / _ITEM_LEVELS).astype(np.float32)
                steps[part] = np.maximum(widest, _TINY)
                whole = np.rint(items / steps[part, None]).clip(-_ITEM_LEVELS, _ITEM_LEVELS)
                codes[:, part] = whole.T
                coded = np.asarray(whole * steps[part, None], dtype=np.float64)
                self._length = max(self._length, float(lengths(coded).max()))
                self._loss = max(self._loss, float(lengths(items - coded).max()))
            self._blocks.append(_Block(codes, steps, rows))

    def _coded_users(self, users: Factors) -> _Coded:
        turned = users.astype(np.float64) @ self._turn
        levels = _user_levels()
        steps = np.abs(turned).max(axis=1, initial=0) / levels
        scaled = turned / np.where(steps > 0, steps, 1)[:, None]
        codes = np.rint(scaled)
        long = lengths(scaled)
        errors = long * self._loss + lengths(scaled - codes) * self._length
        # 32 bits round the product and also the scores by which the list is ranked later
        operations = users.shape[1] + OTHER_OPERATIONS
        errors += ROUNDING * operations * long * (self._length + self._loss)
        return _Coded(
            (codes + levels + 1).astype(np.uint8),
            steps * self._unit,
            errors.astype(np.float32),
        )


def banned_pairs(excluded: Sequence[Rows], places: Rows) -> tuple[Rows, Rows]:
    """Return user and place of every excluded pair, of the items that have a place.

    `excluded` holds item rows for each user; `places` [n] are -1 for an item without.
    """
    owners = np.repeat(np.arange(len(excluded)), [len(rows) for rows in excluded])
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *excluded]).astype(np.int64)
    found = places[rows]
    placed = np.flatnonzero(found >= 0)
    return owners[placed], found[placed]


def lengths(vectors: Doubles) -> Doubles:
    """Return the Euclidean length [n] of each of `vectors` [n, d]."""
    return np.asarray(np.linalg.norm(vectors, axis=1), dtype=np.float64)


def _balance(items: Factors, users: Factors) -> Doubles:
    """Return the factor [d] that makes each axis as wide for `users` as for `items`."""
    widths = []
    for side in (items, users):
        scale = max(float(np.abs(side).max(initial=0)), float(_TINY))
        squares = ((side.astype(np.float64) / scale) ** 2).mean(axis=0)
        widths.append(np.sqrt(squares + _DAMPING * squares.mean() + float(_TINY)))
    return np.asarray(np.sqrt(widths[0] / widths[1]), dtype=np.float64)


def _mixing(dim: int) -> Doubles:
    """Return an orthogonal matrix [d, d] that spreads every axis: a cosine transform."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], dim)
    cosines = dct(np.eye(dim), norm="ortho")
    return np.asarray(signs[:, None] * cosines, dtype=np.float64)


def _group_maxima(scores: Factors, k: int) -> Factors:
    """Return the maxima [b, m] over groups of columns, m some times k where there are so many."""
    users, items = scores.shape
    size = min(max(items // (_GROUPS_PER_ITEM_WANTED * k), 1), _WIDEST_GROUP)
    groups = items // size
    # a group's members lie `groups` columns apart: the maximum runs along whole rows
    maxima: Factors = scores[:, : size * groups].reshape(users, size, groups).max(axis=1)
    return maxima


def _k_greatest(best: Factors, more: Factors) -> Factors:
    """Return the k greatest of `best` [b, k] and `more` [b, m], the least of them first."""
    both = np.concatenate([best, more], axis=1)
    both.partition(more.shape[1], axis=1)
    return both[:, more.shape[1] :]


def _reaching(scores: Factors, least: Factors) -> tuple[Rows, Rows, Rows]:
    """Return how many scores of each user [b] reach `least` [b], their places and columns."""
    flat = np.flatnonzero(scores >= np.maximum(least, _LOWEST)[:, None])
    starts = np.arange(len(scores) + 1) * scores.shape[1]
    counts = np.diff(np.searchsorted(flat, starts))
    return counts, flat, flat - np.repeat(starts[:-1], counts)


def _by_user(found: list[tuple[Rows, Rows, Factors]], least: Factors) -> list[Rows]:
    """Return the rows of each user whose coded score still reaches `least` [b], ascending.

    `found` holds for each block the counts [b], rows and coded scores.
    """
    if len(found) == 1:  # nothing rose since
        counts, rows, _ = found[0]
    else:
        everyone, nobody = np.arange(len(least)), np.zeros(0, dtype=np.int64)
        users = np.concatenate([nobody, *(np.repeat(everyone, part[0]) for part in found)])
        rows = np.concatenate([nobody, *(part[1] for part in found)])
        kept = np.flatnonzero(np.concatenate([nobody, *(p[2] for p in found)]) >= least.take(users))
        kept = kept.take(np.argsort(users.take(kept), kind="stable"))
        counts, rows = np.bincount(users.take(kept), minlength=len(least)), rows.take(kept)
    return np.split(rows, np.cumsum(counts)[:-1])


def _quotient(scores: Doubles, steps: Doubles) -> Factors:
    """Return `scores` in `steps`, rounded downwards; a user without a step scores 0 throughout."""
    quotient = np.divide(scores, steps, out=np.zeros(len(steps)), where=steps > 0)
    return np.nextafter(quotient.astype(np.float32), np.float32(-np.inf))


def _product(codes: NDArray[np.uint8], block: _Block) -> Factors:
    zero = np.array(_user_levels() + 1, dtype=np.uint8)
    feed = {"users": codes, "items": block.codes, "steps": block.steps, "zero": zero}
    scores: Factors = _session().run(None, feed)[0]
    return scores


@cache
def _user_levels() -> int:
    """Return how far codes of users reach: 127, or 63 where that overflows on this CPU.

    Without VNNI pairs of products are added in 16 bits, and the largest pairs don't fit.
    """
    items, steps = np.full((64, 1), _ITEM_LEVELS, np.int8), np.ones(1, np.float32)
    feed = {"users": np.full((1, 64), 255, np.uint8), "items": items, "steps": steps}
    found = _session().run(None, {**feed, "zero": np.array(128, np.uint8)})[0]
    return 127 if float(found[0, 0]) == 64.0 * 127 * _ITEM_LEVELS else 63


@cache
def _session() -> ort.InferenceSession:
    """Return the integer product, with a thread for each caller."""
    real = TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node(
                "MatMulIntegerToFloat",
                ["users", "items", "one", "steps", "zero"],
                ["scores"],
                domain="com.microsoft",
            )
        ],
        "shortlist",
        inputs=[
            helper.make_tensor_value_info("users", TensorProto.UINT8, ["users", "dim"]),
            helper.make_tensor_value_info("items", TensorProto.INT8, ["dim", "items"]),
            helper.make_tensor_value_info("steps", real, ["items"]),
            helper.make_tensor_value_info("zero", TensorProto.UINT8, []),
        ],
        outputs=[helper.make_tensor_value_info("scores", real, ["users", "items"])],
        initializer=[helper.make_tensor("one", real, [], [1.0])],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = _IR_VERSION
    return open_session(model.SerializeToString(), threads=1)
