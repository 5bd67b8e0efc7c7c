"""EASE and the closed form that adds time to it.

- EASE as `models.factors.ease` solves it, in double precision and without content. With fewer
  users than items the scores are taken through the users, without the item-to-item matrix. Where
  neither has at most `EXACT_CELLS` numbers, it is made of the strongest axes of the interactions,
  which are found once for all penalties (`models.factors.spectrum`).
- Closed form: EASE's scores of a history that fades, .3 + .5^(age / 10), plus those of forward
  transitions (what others had within 7 positives after an item, from items that fade as
  .5^(age / 2)), both standardised for each user.

Trade-off: up to `EXACT_CELLS` dense over the smaller side: 10,000 users and as many items take
800 MB and a minute.
"""

from functools import cached_property

import numpy as np
from scipy import sparse

from models.data.arrays import Numbers, Scores
from models.data.interactions import History, Interactions
from models.data.matrices import history_matrix, user_item_matrix
from models.evaluation.question import standardised
from models.factors.ease import solved_over_rows, weights_over_items
from models.factors.spectrum import Spectrum, spectrum
from models.factors.transitions import follow_counts, strongest_followers, too_many_pairs

PENALTIES = (100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)
TRANSITION_SHARES = (0.2, 0.4, 0.8)

EXACT_CELLS, AXES = 100_000_000, 1024
FLOOR, HALF_LIFE = 0.3, 10.0
WINDOW, TRANSITION_HALF_LIFE = 7, 2.0


def fading(age: Numbers) -> Numbers:
    """Return the weight of a liked item by its age in interactions, newest 0."""
    return np.asarray(FLOOR + 0.5 ** (age / HALF_LIFE))


class EaseRows:
    """Training positives, as EASE is fitted to them with any penalty."""

    def __init__(self, train: Interactions) -> None:
        whole = user_item_matrix(train)
        # whoever and whatever has no positive adds rows and columns of zeros
        self.known = np.flatnonzero(whole.sum(axis=0))
        self.matrix = sparse.csr_array(whole[np.unique(train.user)][:, self.known])
        self.n_items = train.n_items

    @property
    def over_users(self) -> bool:
        """Whether there are fewer users than items."""
        users, items = self.matrix.shape
        return int(users) < int(items)

    @property
    def exact(self) -> bool:
        """Whether all axes are taken."""
        users, items = self.matrix.shape
        return int(min(users, items) * items) <= EXACT_CELLS

    @cached_property
    def axes(self) -> Spectrum:
        """The strongest axes."""
        return spectrum(self.matrix, AXES)


class Ease:
    """EASE, fitted at construction to `rows` with a ridge penalty above 0."""

    def __init__(self, rows: EaseRows, penalty: float) -> None:
        self._rows = rows
        self._known, self._n_items, self._matrix = rows.known, rows.n_items, rows.matrix
        if not rows.exact:
            self._shares = rows.axes.shares(penalty).astype(np.float32)
            self._left_over = 1.0 - rows.axes.leverage(penalty)
        elif rows.over_users:
            gram = (self._matrix @ self._matrix.T).toarray()
            self._rebuild = solved_over_rows(self._matrix.toarray(), gram, penalty)
            self._left_over = 1.0 - (self._matrix * self._rebuild).sum(axis=0)
        else:
            self._weights = weights_over_items((self._matrix.T @ self._matrix).toarray(), penalty)

    def apply(self, histories: sparse.csr_array) -> Numbers:
        """Return the scores [u, n] of weighted histories [u, n]."""
        scores = np.zeros(histories.shape)
        scores[:, self._known] = self._of_known(sparse.csr_array(histories[:, self._known]))
        return scores

    def _of_known(self, histories: sparse.csr_array) -> Numbers:
        if self._rows.exact and not self._rows.over_users:
            return np.asarray(histories @ self._weights)
        dense = histories.toarray()
        if self._rows.exact:
            rebuilt = (histories @ self._matrix.T).toarray() @ self._rebuild
        else:
            axes = self._rows.axes.axes
            rebuilt = (histories.astype(np.float32) @ axes * self._shares) @ axes.T
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
    damping = 1.0 / np.sqrt(popularity)
    if too_many_pairs(train, WINDOW):
        return strongest_followers(train, WINDOW, 0.0, np.ones(len(train)), damping, damping)
    scale = sparse.diags_array(damping)
    return sparse.csr_array(scale @ follow_counts(train, WINDOW) @ scale)
