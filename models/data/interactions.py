"""The data as arrays: what every split, baseline, network and scorer takes.

- `Catalogue`: items in catalogue order (their order decides ties and the cold split).
- `Interactions`: parallel arrays of user rows, item rows, values and times.
- `History`: what one user has done, oldest first.

Trade-off: rows (int64 positions) instead of ids make everything a numpy index; the ids stand
beside them once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.arrays import Rows

SECONDS_IN_A_DAY = 86400.0


@dataclass(frozen=True)
class Catalogue:
    """Items in catalogue order: numeric ids by number, then the others by text."""

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    texts: tuple[str, ...]
    attributes: tuple[dict[str, str], ...]
    available: NDArray[np.bool_]


def grades(values: NDArray[np.float64], threshold: float, below: float) -> NDArray[np.float64]:
    """Return what interactions of `values` [n] count: 1 at or above `threshold`, else `below`.

    A negative value below the threshold, such as that of a return, counts nothing.
    """
    return np.where(values >= threshold, 1.0, np.where(values < 0, 0.0, below))


@dataclass(frozen=True)
class Interactions:
    """Parallel arrays [n] in the order of the source; `time` in seconds since 1970."""

    user: Rows
    item: Rows
    value: NDArray[np.float64]
    time: NDArray[np.float64]
    n_users: int
    n_items: int

    def __len__(self) -> int:
        return len(self.user)

    def take(self, selection: NDArray[np.bool_] | Rows) -> "Interactions":
        """Return the selected interactions, in the order of `selection`."""
        return Interactions(
            self.user[selection],
            self.item[selection],
            self.value[selection],
            self.time[selection],
            self.n_users,
            self.n_items,
        )

    def grades(self, threshold: float, below: float) -> NDArray[np.float64]:
        """Return what each interaction counts [n], as `grades` says."""
        return grades(self.value, threshold, below)

    def positives(self, threshold: float) -> "Interactions":
        """Return the interactions whose value is at or above `threshold`."""
        return self.take(self.value >= threshold)


@dataclass(frozen=True)
class History:
    """One user's interactions [h], oldest first."""

    item: Rows
    value: NDArray[np.float64]
    time: NDArray[np.float64]

    def liked(self, threshold: float) -> Rows:
        """Return the items whose value is at or above `threshold`, oldest first."""
        return self.item[self.value >= threshold]

    def positives(self, threshold: float) -> "History":
        """Return the interactions whose value is at or above `threshold`."""
        liked = self.value >= threshold
        return History(self.item[liked], self.value[liked], self.time[liked])


def histories(interactions: Interactions, users: Rows) -> list[History]:
    """Return the history of each of `users` [u], oldest first, ties in source order."""
    order = np.lexsort((interactions.time, interactions.user))
    start = np.searchsorted(interactions.user[order], users, side="left")
    end = np.searchsorted(interactions.user[order], users, side="right")
    return [
        History(interactions.item[rows], interactions.value[rows], interactions.time[rows])
        for rows in (order[a:b] for a, b in zip(start, end, strict=True))
    ]


def catalogue_order(ids: Sequence[str]) -> list[int]:
    """Return the positions of `ids` in catalogue order: numbers by value, then texts."""

    def key(position: int) -> tuple[bool, int, str]:
        text = ids[position]
        numeric = text.isascii() and text.isdigit()
        return (not numeric, int(text) if numeric else 0, text)

    return sorted(range(len(ids)), key=key)


def tie_order(item_ids: Sequence[str]) -> Rows:
    """Return for each item its place [n] among interactions of one user at one time.

    By the hash of the id: numbers of items often follow their popularity, so an order by item
    would move the popular ones to one side of every cut (on MovieLens-100K, where half of the
    interactions share their second with another, it takes EASE from .158 to .140).
    """
    digests = [hashlib.blake2b(item.encode(), digest_size=16).digest() for item in item_ids]
    place = np.empty(len(item_ids), dtype=np.int64)
    place[sorted(range(len(item_ids)), key=digests.__getitem__)] = np.arange(len(item_ids))
    return place
