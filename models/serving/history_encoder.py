"""Histories to user factors, without torch: a gather of the items that are there.

- Each block is one product of a sparse matrix of the histories' weights with the block's history
  factors, whose rows are read where they are needed and nowhere else: they may be mapped from a
  file. A history costs as much as it is long.
- What the network computes (`models.network.towers.UserTower`) comes out within rounding, and the
  same bits whoever else is asked about: a row of each product is a sum over its own entries, and
  everything else is done number by number.

Trade-off: the tower's formula stands here once more, beside the network's; a test holds them
against each other.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Numbers, Rows
from models.data.interactions import History, grades
from models.data.matrices import idle_days, pad_histories
from models.factors.blocks import Block
from models.factors.popularity import Popularity
from models.serving.bundle import PROFILE_MAP, USER_TOWER, Bundle
from models.serving.runtime import open_session

USERS_AT_ONCE, GRAPH_USERS = 512, 64
NO_HISTORY = History(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))


class HistoryEncoder:
    """The user tower over fixed history factors, one array [n, size] for each block."""

    def __init__(self, bundle: Bundle, history: Sequence[Factors], threads: int) -> None:
        manifest = bundle.manifest
        self._blocks, self._popularity = manifest.blocks, manifest.popularity
        self._threshold, self._length = bundle.positive_threshold, manifest.history_length
        self._history = history
        self._graph = None
        if PROFILE_MAP not in manifest.files:
            self._graph = TowerGraph(bundle, np.hstack(history), threads)
            return
        profile_map = np.array(bundle.array(PROFILE_MAP))
        self._profile_weights = np.ascontiguousarray(profile_map[:, :-1].T)
        self._profile_mean = profile_map[:, -1]
        ages = np.arange(self._length)
        self._fading = [each.floor + 0.5 ** (ages / each.half_life) for each in self._blocks]

    def counted(self, histories: Sequence[History]) -> list[History]:
        """Return what the tower reads of histories: all, or likes alone in earlier versions."""
        return list(histories) if self._graph is None else self._graph.counted(histories)

    def encode(
        self, histories: Sequence[History], profiles: Factors, clock: float | None
    ) -> Factors:
        """Return user factors [u, d] from histories and profile vectors [u, w].

        A user's are the same bits whoever else is asked about.

        `clock` is the time of asking in seconds, None for right after each user's newest.
        """
        if self._graph is not None:
            return self._graph.encode(histories, profiles, clock)
        blocks = [slice(at, at + USERS_AT_ONCE) for at in range(0, len(histories), USERS_AT_ONCE)]
        return np.concatenate([self._some(histories[b], profiles[b], clock) for b in blocks])

    def _some(
        self, histories: Sequence[History], profiles: Factors, clock: float | None
    ) -> Factors:
        newest = [len(history.item) - self._length for history in histories]
        cut = [slice(max(first, 0), None) for first in newest]
        items = np.concatenate([one.item[rows] for one, rows in zip(histories, cut, strict=True)])
        values = np.concatenate([one.value[rows] for one, rows in zip(histories, cut, strict=True)])
        lengths = np.minimum([len(one.item) for one in histories], self._length)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        ages: Rows = np.repeat(ends[1:], lengths) - 1 - np.arange(len(items))
        liked = values >= self._threshold
        users = np.repeat(np.arange(len(histories)), lengths)
        known = np.bincount(users[liked], minlength=len(histories)).astype(np.float64)
        idle = np.array([idle_days(one, clock) for one in histories])
        away, profile, popularity = contexts(known, idle, self._popularity)
        parts = [
            gains(block, away)[:, None] * self._unit_of(number, items, ages, values, ends)
            for number, block in enumerate(self._blocks)
        ]
        parts += [profile[:, None] * self._profile_units(profiles), popularity]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _unit_of(
        self, number: int, items: Rows, ages: Rows, values: Numbers, ends: Rows
    ) -> Factors:
        """Return what the histories say in a block: unit vectors [b, size]."""
        factors = self._history[number]
        counted = grades(values, self._threshold, self._blocks[number].below)
        weights = self._fading[number][ages] * counted
        entries = (weights.astype(np.float32), items, ends)
        rows = sparse.csr_array(entries, shape=(len(ends) - 1, len(factors)))
        return _unit(np.asarray(rows @ factors))

    def _profile_units(self, profiles: Factors) -> Factors:
        """Return what profile vectors [b, w] say: unit vectors [b, p]."""
        centred = profiles - self._profile_mean
        # not a product of matrices, whose last bits depend on the number of rows
        return _unit((centred[:, None, :] * self._profile_weights).sum(axis=2))


class TowerGraph:
    """The exported user tower over history factors [n, h], for versions without a profile map.

    Those of 0.2.0 and earlier have no other. It takes histories that are filled up to one length,
    so that a short one costs as much as a long one.
    """

    def __init__(self, bundle: Bundle, history_factors: Factors, threads: int) -> None:
        self._session = open_session(bundle.path(USER_TOWER), threads)
        # the tower of a version of 0.2.0 or earlier sums what was liked and nothing else
        self._knows_liked = any(one.name == "liked" for one in self._session.get_inputs())
        self._length = bundle.manifest.history_length
        self._threshold = bundle.positive_threshold
        self._padding = len(history_factors)
        zero = np.zeros((1, history_factors.shape[1]), dtype=np.float32)
        self._factors = np.concatenate([history_factors, zero])

    def counted(self, histories: Sequence[History]) -> list[History]:
        """Return what the graph reads of histories."""
        if self._knows_liked:
            return list(histories)
        return [history.positives(self._threshold) for history in histories]

    def encode(
        self, histories: Sequence[History], profiles: Factors, clock: float | None
    ) -> Factors:
        """Return user factors [u, d], as `HistoryEncoder.encode` does."""
        parts = []
        for start in range(0, len(histories), GRAPH_USERS):
            some = list(histories[start : start + GRAPH_USERS])
            # always as many rows: a product's last bits depend on their number
            missing = GRAPH_USERS - len(some)
            full = some + [NO_HISTORY] * missing
            idle = [idle_days(history, clock) for history in full]
            items, ages, liked = pad_histories(
                self.counted(full), self._threshold, self._length, self._padding
            )
            feed = {
                "profiles": np.pad(profiles[start : start + len(some)], ((0, missing), (0, 0))),
                "history_factors": self._factors,
                "items": items,
                "ages": ages,
                "idle_days": np.array(idle, dtype=np.float32),
            }
            if self._knows_liked:
                feed["liked"] = liked
            parts.append(self._session.run(None, feed)[0][: len(some)])
        return np.concatenate(parts)


def by_block(history: Factors, blocks: Sequence[Block]) -> list[Factors]:
    """Return history factors [n, h] as one contiguous array [n, size] for each block."""
    ends = np.cumsum([block.size for block in blocks])[:-1]
    return [np.ascontiguousarray(part) for part in np.split(history, ends, axis=1)]


def blocks_in(flat: Factors, blocks: Sequence[Block]) -> list[Factors]:
    """Return the arrays of `by_block` that were written one after the other as `flat`."""
    sizes = np.array([block.size for block in blocks])
    n_items = len(flat) // max(int(sizes.sum()), 1)
    parts = np.split(flat, np.cumsum(sizes * n_items)[:-1])
    return [part.reshape(n_items, size) for part, size in zip(parts, sizes.tolist(), strict=True)]


def contexts(
    known: Numbers, idle: Numbers, weighing: Popularity
) -> tuple[Numbers, Numbers, Numbers]:
    """Return how far away users are [b], and the weights of profile [b] and popularity [b, 4].

    `known` are their positives [b], `idle` the days since the newest interaction [b]; see
    `models.network.towers.Contexts`.
    """
    away = 1.0 - 0.5 ** (np.maximum(idle, 0.0) / weighing.idle_half_life)
    share = 0.5 ** (known / weighing.half_length)
    back = away * weighing.unknown * share
    here = (1.0 - away) * weighing.unknown_visiting * share
    known_well = (1.0 - share)[:, None] * (
        away[:, None] * np.array(weighing.returning)
        + (1.0 - away)[:, None] * np.array(weighing.visiting)
    )
    nothing = np.zeros_like(share)
    leading = np.stack([nothing, here, nothing, back], axis=1)
    return away, weighing.profile * (here + back), known_well + leading


def gains(block: Block, away: Numbers) -> Numbers:
    """Return the length of a block's part of the user vectors [b]."""
    return np.asarray(block.gain + away * (block.away - block.gain))


def _unit(rows: Factors) -> Factors:
    """Return rows [b, r] of length one; rows of zeros stay."""
    lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return np.asarray(rows / np.maximum(lengths, 1e-9))
