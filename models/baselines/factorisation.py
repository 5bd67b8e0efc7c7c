"""Two baselines from the item factors of implicit-feedback ALS.

- `FoldedIn`: a user's factors are solved from the history with the item factors held fixed, just
  as the last half-step of Spark's ALS does (Hu, Koren and Volinsky, ICDM 2008, with the penalty
  scaled by the number of items as Spark scales it). For a user of the training part these are
  the factors that Spark returned; for a new user they are what it would have returned.
- `text_ridge`: ridge regression from text vectors to item factors, so that items without
  interactions have factors too (Gantner et al., ICDM 2010).

Trade-off: one dense system for each user, quick for tens of factors, slow for thousands.
"""

import numpy as np
from numpy.typing import NDArray

from models.data.arrays import Numbers, Scores
from models.data.interactions import History, Interactions
from models.data.matrices import history_matrix
from models.factors.als import AlsOptions, solved_rows

AnyFactors = NDArray[np.floating]

RIDGE_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)

# Spark's defaults, but for the rank and the rounds
SPARK_ALS = AlsOptions(rank=32, confidence=1.0, penalty=0.1, rounds=15, penalty_by_count=True)


class FoldedIn:
    """Scores by user factors solved from the history against the item factors [n, d].

    `ranked` [n, d] are the item factors to rank by, where they aren't those of the solution.
    """

    def __init__(self, items: AnyFactors, ranked: AnyFactors | None = None) -> None:
        self._items = np.asarray(items, dtype=np.float64)
        self._ranked = self._items if ranked is None else np.asarray(ranked, dtype=np.float64)

    def users(self, histories: list[History]) -> Numbers:
        """Return the user factors [u, d]; zeros where the history is empty."""
        has = history_matrix(histories, len(self._items))
        return solved_rows(has, self._items, SPARK_ALS)

    def score(self, histories: list[History], _profiles: list[str]) -> Scores:
        """Score users by the dot product of their factors with the items'."""
        return np.asarray(self.users(histories) @ self._ranked.T)


def text_ridge(
    text_vectors: AnyFactors, items: AnyFactors, train: Interactions, penalty: float
) -> Numbers:
    """Return item factors [n, d] predicted from text vectors [n, w] by ridge regression.

    It learns from the items with training positives, each weighing the same; the intercept is
    not penalised.
    """
    known = np.bincount(train.item, minlength=train.n_items) > 0
    texts, targets = np.asarray(text_vectors, np.float64), np.asarray(items, np.float64)
    mean_text, mean_target = texts[known].mean(axis=0), targets[known].mean(axis=0)
    centred = texts[known] - mean_text
    system = centred.T @ centred + penalty * np.eye(texts.shape[1])
    weights = np.linalg.solve(system, centred.T @ (targets[known] - mean_target))
    return np.asarray((texts - mean_text) @ weights + mean_target)
