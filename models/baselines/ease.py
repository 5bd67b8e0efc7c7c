"""EASE and the closed form that adds time to it.

- EASE (Steck, WWW 2019): the item-to-item weights B that rebuild the matrix of positives X best
  under a ridge penalty and a zero diagonal: with P = (X'X + penalty)^-1, B = I - P / diag(P).
- With fewer users than items the inverse is taken over users: P = (I - X'KX) / penalty with
  K = (XX' + penalty)^-1 (Woodbury), so that its cost follows the smaller side.
- Closed form: EASE's scores of a history that fades, .3 + .5^(age / 10), plus those of forward
  transitions (what others had within 7 positives after an item, from items that fade as
  .5^(age / 2)), both standardised for each user.

Trade-off: dense over the smaller side: 10,000 users and as many items take 800 MB and a minute.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from models.data.arrays import Numbers, Scores
from models.data.interactions import History, Interactions
from models.data.matrices import history_matrix, user_item_matrix
from models.evaluation.question import standardised

PENALTIES = (100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)
TRANSITION_SHARES = (0.2, 0.4, 0.8)

FLOOR, HALF_LIFE = 0.3, 10.0
WINDOW, TRANSITION_HALF_LIFE = 7, 2.0


def fading(age: Numbers) -> Numbers:
    """Return the weight of a liked item by its age in interactions, newest 0."""
    return np.asarray(FLOOR + 0.5 ** (age / HALF_LIFE))


class Ease:
    """EASE, fitted at construction on training positives with a ridge penalty above 0."""

    def __init__(self, train: Interactions, penalty: float) -> None:
        matrix = user_item_matrix(train)
        self._n_items = train.n_items
        self._over_users = train.n_users < train.n_items
        gram = matrix @ matrix.T if self._over_users else matrix.T @ matrix
        inverse = linalg.inv(gram.toarray() + penalty * np.eye(gram.shape[0]), assume_a="pos")
        if self._over_users:
            self._matrix = matrix
            self._rebuild: NDArray[np.float64] = (matrix.T @ inverse).T
            self._left_over = 1.0 - (matrix * self._rebuild).sum(axis=0)
        else:
            self._weights: NDArray[np.float64] = inverse / -np.diag(inverse)
            np.fill_diagonal(self._weights, 0.0)

    def apply(self, histories: sparse.csr_array) -> Numbers:
        """Return the scores [u, n] of weighted histories [u, n]."""
        if not self._over_users:
            return np.asarray(histories @ self._weights)
        dense = histories.toarray()
        rebuilt = (histories @ self._matrix.T).toarray() @ self._rebuild
        return np.asarray(dense - (dense - rebuilt) / self._left_over)

    def score(self, histories: list[History], _profiles: list[str]) -> Scores:
        """Score users by histories in which every item counts the same."""
        return self.apply(history_matrix(histories, self._n_items))


class ClosedForm:
    """Faded EASE plus `share` of forward transitions, standardised; a fitted `ease` is shared."""

    def __init__(self, ease: Ease, followed: sparse.csr_array, share: float) -> None:
        self._ease = ease
        self._followed = followed
        self._share = share

    def score(self, histories: list[History], _profiles: list[str]) -> Scores:
        """Score users by what they liked and when."""
        n_items = self._followed.shape[1]
        faded = self._ease.apply(history_matrix(histories, n_items, fading))
        recent = history_matrix(histories, n_items, lambda age: 0.5 ** (age / TRANSITION_HALF_LIFE))
        follows = (recent @ self._followed).toarray()
        return standardised(faded) + self._share * standardised(follows)


def transitions(train: Interactions) -> sparse.csr_array:
    """Return [n, n]: how often the column followed the row within 7 positives of one user.

    Counts are divided by the geometric mean of both items' popularity.
    """
    order = np.lexsort((train.time, train.user))
    user, item = train.user[order], train.item[order]
    steps = range(1, min(WINDOW, len(user) - 1) + 1)
    pairs = [
        np.stack([item[:-step], item[step:]])[:, user[:-step] == user[step:]] for step in steps
    ]
    shape = (train.n_items, train.n_items)
    before, after = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), dtype=np.int64)
    counts = sparse.csr_array((np.ones(len(before)), (before, after)), shape=shape)
    popularity = np.maximum(np.bincount(train.item, minlength=train.n_items), 1)
    scale = sparse.diags_array(1.0 / np.sqrt(popularity))
    return sparse.csr_array(scale @ counts @ scale)
