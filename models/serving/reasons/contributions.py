"""Why a score is what it is: its exact split into what history, profile and popularity add to it.

- In each block a user's factors are a weighted sum s of the history's factors, made a unit vector
  and stretched: u = c * s. So an item of the history adds c * weight * (its history factors · the
  other's ranking factors) to a score, and over all items this is the block's part, exactly.
- c is told by the factors that the user tower has computed: (u · s) / (s · s). So nothing of the
  tower's gains is computed twice.
- The dimensions of the profile and of popularity, of all time and of late, add their own products.
  Where an item has no factors of its own, its popularity is what text and attributes promise.
- The reason is whatever adds most. An item of the history is named only where the score would be
  lower if it counted nothing; where it repeats what others say, the next one is asked.

Trade-off: the sums are computed once more in numpy beside the tower, some microseconds a user.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.arrays import Factors, Mask, Numbers, Rows
from models.data.interactions import History, grades
from models.factors.blocks import Block
from models.factors.popularity import POPULARITY_SIZE
from models.serving.bundle import Bundle

NOBODY = -1
ITEMS_NAMED = 3
# what may add to a score beside the items of a history, in the order of `beside_history`
PROFILE, ALL_TIME, OF_LATE, TEXT, ATTRIBUTES = range(5)
_USERS_AT_ONCE = 64
_NOTHING_LEFT = 1e-5  # of a sum's length, below which the rest of it is rounding


@dataclass(frozen=True)
class Remembered:
    """The items of some histories [t], each once, one user after another.

    `starts` [u + 1] are where the items of each user begin, `rows` [t] are the items', and
    `weights` [t, b] what they count in each block.
    """

    starts: Rows
    rows: Rows
    weights: NDArray[np.float64]

    def of(self, user: int) -> slice:
        """Return the places of the items of one user."""
        return slice(int(self.starts[user]), int(self.starts[user + 1]))


def remembered(
    histories: Sequence[History], threshold: float, length: int, blocks: Sequence[Block]
) -> Remembered:
    """Return what the newest `length` entries of each history count, as the user tower weighs them.

    An item that comes several times counts as often. A value at or above `threshold` was liked.
    """
    newest = [history.item[::-1][:length] for history in histories]
    lengths = np.array([len(items) for items in newest], dtype=np.int64)
    owners = np.repeat(np.arange(len(newest)), lengths)
    items = np.concatenate([*newest, np.zeros(0, np.int64)]).astype(np.int64)
    values = np.concatenate([*(h.value[::-1][:length] for h in histories), np.zeros(0)])
    ages = np.arange(len(items)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    width = int(items.max(initial=0)) + 1
    found, places = np.unique(owners * width + items, return_inverse=True)
    weights = np.stack(
        [
            np.bincount(places, _weights(block, ages, values, threshold), minlength=len(found))
            for block in blocks
        ],
        axis=1,
    )
    starts = np.searchsorted(found, np.arange(len(newest) + 1) * width)
    return Remembered(starts, found % width, weights.astype(np.float64))


def _weights(block: Block, ages: Rows, values: Numbers, threshold: float) -> Numbers:
    fading = block.floor + 0.5 ** (ages / block.half_life)
    return np.asarray(grades(values, threshold, block.below) * fading)


def speaking(
    past: Remembered, factors: Factors, history: Sequence[Factors], blocks: Sequence[Block]
) -> Factors:
    """Return vectors [t, h], whose product with ranking factors is what an item adds to a score.

    `factors` [u, d] are those of the users, `history` the items', [n, size] for each block.
    """
    parts = np.hstack([block_factors[past.rows] for block_factors in history])
    users = np.flatnonzero(np.diff(past.starts))
    owners = np.repeat(np.arange(len(past.starts) - 1), np.diff(past.starts))
    for part, block_weights in zip(block_columns(blocks), past.weights.T, strict=True):
        weighed = parts[:, part] * block_weights.astype(np.float32)[:, None]
        stretch = np.zeros(len(past.starts) - 1, dtype=np.float32)
        if len(users):
            sums = np.add.reduceat(weighed, past.starts[users], axis=0)
            along = (factors[users, part] * sums).sum(axis=1)
            stretch[users] = along / np.maximum((sums * sums).sum(axis=1), 1e-18)
        parts[:, part] = weighed * stretch[owners, None]
    return np.asarray(parts)


def block_columns(blocks: Sequence[Block]) -> list[slice]:
    """Return the dimensions of each block among those of the factors."""
    ends = np.cumsum([block.size for block in blocks]).tolist()
    return [slice(end - block.size, end) for end, block in zip(ends, blocks, strict=True)]


def largest(past: Remembered, parts: Factors, items: Factors, count: int) -> tuple[Rows, Factors]:
    """Return the `count` items of each history that add most to the scores of `items` [u, k, d].

    `parts` [t, h] are what `speaking` returns. Returns places [u, k, count] among those of `past`,
    NOBODY where a history has no more, and what they add [u, k, count], -inf there.
    """
    places = np.full((*items.shape[:2], count), NOBODY, dtype=np.int64)
    added = np.full(places.shape, -np.inf, dtype=np.float32)
    entries = np.arange(items.shape[1])
    for user in np.flatnonzero(np.diff(past.starts)).tolist():
        own = past.of(user)
        adds = items[user, :, : parts.shape[1]] @ parts[own].T
        for one in range(min(count, adds.shape[1])):
            best = adds.argmax(axis=1)
            places[user, :, one] = own.start + best
            added[user, :, one] = adds[entries, best]
            adds[entries, best] = -np.inf
    return places, added


def missed(parts: Factors, factors: Factors, items: Factors, blocks: Sequence[Block]) -> Factors:
    """Return what scores [m] lose when one item of the history counts nothing, all else the same.

    `parts` [m, h] are what `speaking` says of that item, `factors` [m, d] the users and `items`
    [m, d] the items that are scored. The rest of a block's sum is made as long as the sum was, so
    a score may lose less than the item adds, or even gain.
    """
    lost = np.zeros(len(parts), dtype=np.float32)
    for part in block_columns(blocks):
        whole, ranking = factors[:, part], items[:, part]
        rest = whole - parts[:, part]
        lengths = np.linalg.norm(rest, axis=1)
        stretch = np.linalg.norm(whole, axis=1) / np.maximum(lengths, 1e-9)
        stretch[lengths < _NOTHING_LEFT * np.linalg.norm(whole, axis=1)] = 0.0
        lost += (whole * ranking).sum(axis=1) - stretch * (rest * ranking).sum(axis=1)
    return lost


def beside_history(
    factors: Factors, items: Factors, own: Mask, attributes: Factors, history: int
) -> Factors:
    """Return what profile, popularity of all time and of late, text and attributes add [..., 5].

    `factors` [..., d] are the users and `items` [..., d] the items, of whose dimensions the first
    `history` are the blocks'; `own` [...] says which items have factors of their own, and
    `attributes` [..., 4] is what an item's attributes promise of its popularity. An item has its
    popularity, or what is promised of it, never both.
    """
    products = factors * items
    popular = products[..., -POPULARITY_SIZE:]
    promised = (factors[..., -POPULARITY_SIZE:] * attributes).sum(axis=-1)
    all_time, of_late = popular[..., :2].sum(axis=-1), popular[..., 2:].sum(axis=-1)
    found = np.zeros((*own.shape, 5), dtype=np.float32)
    found[..., PROFILE] = products[..., history:-POPULARITY_SIZE].sum(axis=-1)
    found[..., ALL_TIME] = np.where(own, all_time, 0.0)
    found[..., OF_LATE] = np.where(own, of_late, 0.0)
    found[..., TEXT] = np.where(own, 0.0, all_time + of_late - promised)
    found[..., ATTRIBUTES] = np.where(own, 0.0, promised)
    return found


@dataclass(frozen=True)
class Reasons:
    """Why items [u, k] were recommended.

    `largest` is the row of an item of the history, or -1 less the place of what else adds most,
    as PROFILE; `items` [u, k, 3] are the items of the history that add most, NOBODY where no other
    adds anything.
    """

    largest: Rows
    items: Rows


class Reasoner:
    """Finds what adds most to scores, over the arrays of one night."""

    def __init__(
        self,
        bundle: Bundle,
        history: Sequence[Factors],
        ranking: Factors,
        own: Mask,
        attributes: Factors,
    ) -> None:
        """Take a version and the night's items.

        `history` [n, size] for each block, `ranking` [n, d], `own` [n] and `attributes` [n, 4] as
        in `ItemFactors`.
        """
        self._blocks, self._length = bundle.manifest.blocks, bundle.manifest.history_length
        self._threshold = bundle.positive_threshold
        self._history, self._ranking, self._own = history, ranking, own
        self._attributes = attributes

    def reasons(self, histories: Sequence[History], factors: Factors, item_rows: Rows) -> Reasons:
        """Return why each of `item_rows` [u, k] was recommended to the users of `factors` [u, d].

        `histories` are those that the user tower has read.
        """
        largest, named = [], []
        for start in range(0, len(histories), _USERS_AT_ONCE):
            some = slice(start, start + _USERS_AT_ONCE)
            found = self._some(histories[some], factors[some], item_rows[some])
            largest.append(found.largest)
            named.append(found.items)
        shape = item_rows.shape
        return Reasons(
            np.concatenate(largest) if largest else np.zeros(shape, np.int64),
            np.concatenate(named) if named else np.zeros((*shape, ITEMS_NAMED), np.int64),
        )

    def _some(self, histories: Sequence[History], factors: Factors, item_rows: Rows) -> Reasons:
        past = remembered(histories, self._threshold, self._length, self._blocks)
        parts = speaking(past, factors, self._history, self._blocks)
        ranking = self._ranking[item_rows]
        places, added = largest(past, parts, ranking, ITEMS_NAMED)
        own = self._own[item_rows]
        promised = self._attributes[item_rows]
        others = beside_history(factors[:, None], ranking, own, promised, parts.shape[1])
        for kind in range(others.shape[-1]):  # an item has its popularity, or a promise of it
            if kind != PROFILE:
                others[own == (kind in (TEXT, ATTRIBUTES)), kind] = -np.inf
        other, other_adds = others.argmax(axis=-1), others.max(axis=-1)
        found = np.asarray(-1 - other)
        undecided = np.ones(found.shape, dtype=np.bool_)
        for one in range(ITEMS_NAMED):
            undecided &= added[..., one] > other_adds
            users, entries = np.nonzero(undecided)
            place = places[users, entries, one]
            lost = missed(parts[place], factors[users], ranking[users, entries], self._blocks)
            right = lost > 0
            found[users[right], entries[right]] = past.rows[place[right]]
            undecided[users[right], entries[right]] = False
        rows = np.append(past.rows, NOBODY)
        return Reasons(found, rows[np.where(added > 0, places, NOBODY)])
