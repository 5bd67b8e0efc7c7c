"""Interactions and histories as matrices.

- `drawn`: a sample of rows, the same at every call.
- `user_item_matrix`: who has what, sparse.
- `history_matrix`: histories as sparse rows, each item weighed by its age.
- `pad_histories`: the newest items of each history as rows of one length, for the networks.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Numbers, Rows
from models.data.interactions import SECONDS_IN_A_DAY, History, Interactions

# days without an interaction after which their number no longer moves a score (2 ** -14 is left)
SETTLED_DAYS = 7.0


def drawn(rows: Rows, most: int) -> Rows:
    """Return `rows` [n], or `most` of them at random, in their order, where there are more."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def user_item_matrix(interactions: Interactions, grades: Numbers | None = None) -> sparse.csr_array:
    """Return the matrix [users, items] of who has what: ones, or at most one by `grades` [n].

    Repeats count once, by the highest of their grades. A grade of zero leaves no entry.
    """
    shape = (interactions.n_users, interactions.n_items)
    if grades is None:
        ones = np.ones(len(interactions))
        matrix = sparse.csr_array((ones, (interactions.user, interactions.item)), shape=shape)
        matrix.data[:] = 1.0
        return matrix
    order = np.argsort(-grades, kind="stable")
    order = order[grades[order] > 0]
    cells = interactions.user[order] * interactions.n_items + interactions.item[order]
    cells, highest = np.unique(cells, return_index=True)
    rows, columns = np.divmod(cells, max(interactions.n_items, 1))
    return sparse.csr_array((grades[order][highest], (rows, columns)), shape=shape)


def history_matrix(
    histories: Sequence[History],
    n_items: int,
    weight: Callable[[Numbers], Numbers] = np.ones_like,
) -> sparse.csr_array:
    """Return histories as rows [u, n]: at each item the weight of its age.

    Ages count interactions, 0 for the newest; a repeated item takes its newest occurrence.
    """
    rows, columns, values = [], [], []
    for row, history in enumerate(histories):
        newest_first = history.item[::-1]
        items, age = np.unique(newest_first, return_index=True)
        rows.append(np.full(len(items), row))
        columns.append(items)
        values.append(weight(age.astype(np.float64)))
    shape = (len(histories), n_items)
    if not rows:
        return sparse.csr_array(shape)
    positions = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(values), positions), shape=shape)


def pad_histories(
    histories: Sequence[History], threshold: float, length: int, padding: int
) -> tuple[Rows, Factors, Factors]:
    """Return the newest `length` items of each history [u, l], their ages and which were liked.

    The newest stands first and has age 0; ages count interactions. An item at or above `threshold`
    was liked and has a 1, any other a 0. Short histories are filled with the item row `padding`,
    which also stands for an item whose value is below the threshold and negative: a return says
    nothing of what else a user likes.
    """
    items = np.full((len(histories), length), padding, dtype=np.int64)
    liked = np.zeros(items.shape, dtype=np.float32)
    for row, history in enumerate(histories):
        newest, values = history.item[::-1][:length], history.value[::-1][:length]
        liked[row, : len(newest)] = values >= threshold
        items[row, : len(newest)] = np.where((values < 0) & (values < threshold), padding, newest)
    return items, np.tile(np.arange(length, dtype=np.float32), (len(items), 1)), liked


def idle_days(history: History, clock: float | None) -> float:
    """Return the days between a history's newest interaction and `clock`, SETTLED_DAYS at most.

    0 without a clock; SETTLED_DAYS without a history.
    """
    if clock is None:
        return 0.0
    if len(history.time) == 0:
        return SETTLED_DAYS
    return min(max(0.0, (clock - float(history.time[-1])) / SECONDS_IN_A_DAY), SETTLED_DAYS)
