"""EASE and the closed form that adds time to it.

- EASE as `models.factors.ease` solves it, in double precision and without content. With fewer
  users than items the scores are taken through the users, without the item-to-item matrix.
- Closed form: EASE's scores of a history that fades, .3 + .5^(age / 10), plus those of forward
  transitions (what others had within 7 positives after an item, from items that fade as
  .5^(age / 2)), both standardised for each user.

Trade-off: dense over the smaller side: 10,000 users and as many items take 800 MB and a minute.
"""

import numpy as np
from scipy import sparse

from models.data.arrays import Numbers, Scores
from models.data.interactions import History, Interactions
from models.data.matrices import history_matrix, user_item_matrix
from models.evaluation.question import standardised
from models.factors.ease import solved_over_rows, weights_over_items
from models.factors.transitions import follow_counts

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
        whole = user_item_matrix(train)
        # whoever and whatever has no positive adds rows and columns of zeros
        self._known = np.flatnonzero(whole.sum(axis=0))
        matrix = sparse.csr_array(whole[np.unique(train.user)][:, self._known])
        self._n_items = train.n_items
        self._over_users = matrix.shape[0] < matrix.shape[1]
        if self._over_users:
            gram = (matrix @ matrix.T).toarray()
            self._matrix = matrix
            self._rebuild = solved_over_rows(matrix.toarray(), gram, penalty)
            self._left_over = 1.0 - (matrix * self._rebuild).sum(axis=0)
        else:
            self._weights = weights_over_items((matrix.T @ matrix).toarray(), penalty)

    def apply(self, histories: sparse.csr_array) -> Numbers:
        """Return the scores [u, n] of weighted histories [u, n]."""
        scores = np.zeros(histories.shape)
        scores[:, self._known] = self._of_known(sparse.csr_array(histories[:, self._known]))
        return scores

    def _of_known(self, histories: sparse.csr_array) -> Numbers:
        if not self._over_users:
            return np.asarray(histories @ self._weights)
        dense = histories.toarray()
        rebuilt = (histories @ self._matrix.T).toarray() @ self._rebuild
        return np.asarray(dense - (dense - rebuilt) / self._left_over)

    def score(self, histories: list[History], _profiles: list[str]) -> Scores:
        """Score users by histories in which every item counts the same."""
        return self.apply(history_matrix(histories, self._n_items))

    def score_faded(self, histories: list[History], _profiles: list[str]) -> Scores:
        """Score users by histories in which newer items count more."""
        return self.apply(history_matrix(histories, self._n_items, fading))


class ClosedForm:
    """Faded EASE plus `share` of forward transitions, standardised; a fitted `ease` is shared."""

    def __init__(self, ease: Ease, followed: sparse.csr_array, share: float) -> None:
        self._ease = ease
        self._followed = followed
        self._share = share

    def score(self, histories: list[History], profiles: list[str]) -> Scores:
        """Score users by what they liked and when."""
        n_items = self._followed.shape[1]
        faded = self._ease.score_faded(histories, profiles)
        recent = history_matrix(histories, n_items, lambda age: 0.5 ** (age / TRANSITION_HALF_LIFE))
        follows = (recent @ self._followed).toarray()
        return standardised(faded) + self._share * standardised(follows)


def transitions(train: Interactions) -> sparse.csr_array:
    """Return [n, n]: how often the column followed the row within 7 positives of one user.

    Counts are divided by the geometric mean of both items' popularity, where the model's own
    transitions also look back and damp less (`models.factors.transitions`): the published figures
    of this baseline are those of its own constants.
    """
    popularity = np.maximum(np.bincount(train.item, minlength=train.n_items), 1)
    scale = sparse.diags_array(1.0 / np.sqrt(popularity))
    return sparse.csr_array(scale @ follow_counts(train, WINDOW) @ scale)
