"""Interest prediction: the calibrated probability that a user likes an item once seen.

- Levels are log-odds of liking beyond the average, shrunk: of each item over its ratings, of each
  user over theirs. An item without ratings has the level that its text and attributes predict.
- A logistic regression of the ranking score, in the user's standard deviations, and both levels,
  fitted on the validation part, gives the probability (Platt, "Probabilistic outputs for support
  vector machines", 1999).

Trade-off: three features and an intercept, so that some hundred labels calibrate it; what else is
known of a pair reaches it through the ranking score alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special
from sklearn.linear_model import LogisticRegression

from models.data.arrays import Factors, Mask, Numbers, Rows, Scores
from models.data.interactions import History, Interactions, histories
from models.evaluation.question import (
    Question,
    Scorer,
    judge,
    labelled_pairs,
    standardised,
    users_at_once,
)
from models.factors.text_map import TextMap, solve_text_map

PRIOR_RATINGS = 5.0
PENALTY = 1e-3


@dataclass(frozen=True)
class Interest:
    """Coefficients [4] of one, standard score, item level and user level, and the items' levels.

    `levels` [n] of the `rated` items [n]; `text_map` gives those of the others.
    """

    coefficients: Numbers
    levels: Factors
    rated: NDArray[np.bool_]
    text_map: TextMap

    @classmethod
    def fit(
        cls,
        coefficients: Numbers,
        labelled: Interactions,
        threshold: float,
        vectors: Factors,
        columns: sparse.csr_array,
    ) -> "Interest":
        """Take the items' levels from `labelled` interactions, with given coefficients."""
        levels, rated = group_levels(labelled.item, labelled.value >= threshold, labelled.n_items)
        text_map = solve_text_map(vectors, columns, levels[:, None], rated)
        return cls(coefficients, levels, rated, text_map)

    def item_levels(self, vectors: Factors, columns: sparse.csr_array) -> Factors:
        """Return the levels [n] of the items: their own, else those of text [n, w] and columns."""
        return np.where(self.rated, self.levels, text_levels(self.text_map, vectors, columns))


def text_levels(text_map: TextMap, vectors: Factors, columns: sparse.csr_array) -> Factors:
    """Return the levels [n] that texts [n, w] and attribute columns [n, c] predict."""
    predicted = vectors @ text_map.weights + text_map.bias + columns @ text_map.attributes
    return np.asarray(predicted[:, 0], dtype=np.float32)


def fit_interest(
    question: Question, score: Scorer, vectors: Factors, columns: sparse.csr_array
) -> Interest:
    """Fit levels to the question's training part and coefficients to its labelled pairs."""
    trial, unfitted = question.trial, np.array([0.0, 0.0, 1.0, 1.0])
    fitted = Interest.fit(unfitted, trial.labelled_train, trial.threshold, vectors, columns)
    if not len(question.users):
        return fitted
    scores, labels = _judged_pairs(question, score)
    if labels.all() or not labels.any():
        return fitted
    columns_of_pairs = features(question, scores, fitted.item_levels(vectors, columns))
    return replace(fitted, coefficients=fit_logistic(columns_of_pairs, labels))


def calibrated(question: Question, score: Scorer) -> Numbers:
    """Return the coefficients [2] of one and the score, fitted to the question's labelled pairs."""
    scores, labels = _judged_pairs(question, score)
    return fit_logistic(with_intercept(scores), labels)


def _judged_pairs(question: Question, score: Scorer) -> tuple[Numbers, Mask]:
    """Return the scores [m] of the question's labelled pairs, and which were liked."""
    labels = labelled_pairs(question)[0].value >= question.trial.threshold
    return judge(question, score).pair_scores, labels


def with_intercept(scores: Scores) -> Numbers:
    """Return one and the score [m, 2]."""
    return np.stack([np.ones(len(scores)), scores], axis=1)


def features(question: Question, scores: Scores, item_levels: Factors) -> Numbers:
    """Return one, score, item level and user level [m, 4] of the question's labelled pairs."""
    pairs, given = labelled_pairs(question)[0], question.trial.labelled_given
    likes = given.value >= question.trial.threshold
    users, _ = group_levels(given.user, likes, given.n_users)
    return pair_features(scores, item_levels[pairs.item], users[pairs.user])


def pair_features(scores: Scores, item_levels: Factors, user_levels: Factors | float) -> Numbers:
    """Return one, score, item level and user level [m, 4] of pairs, each given by pair."""
    return np.stack(np.broadcast_arrays(1.0, scores, item_levels, user_levels), axis=1)


def probabilities(coefficients: Numbers, columns: Numbers) -> Numbers:
    """Return the probabilities [m] of pairs from their features [m, f]."""
    return np.asarray(special.expit(columns @ coefficients))


def liking(
    users: Rows,
    labelled: Interactions,
    profiles: Sequence[str],
    threshold: float,
    score: Scorer,
    item_levels: Factors,
    coefficients: Numbers,
    candidates: Mask | slice = slice(None),
) -> Iterator[tuple[Rows, list[History], Numbers]]:
    """Yield blocks of `users` with their histories and probabilities [u, n] of liking each item.

    Histories and user levels are those of `labelled`; `profiles` are the texts of all users;
    scores are standardised over the `candidates` [n].
    """
    user_levels, _ = group_levels(labelled.user, labelled.value >= threshold, labelled.n_users)
    at_once = users_at_once(labelled.n_items)
    for start in range(0, len(users), at_once):
        block = users[start : start + at_once]
        pasts = histories(labelled, block)
        scores = score(pasts, [profiles[user] for user in block])
        yield (
            block,
            pasts,
            np.stack(
                [
                    probabilities(coefficients, pair_features(own, item_levels, user_levels[user]))
                    for user, own in zip(block, standardised(scores, candidates), strict=True)
                ]
            ),
        )


def fit_logistic(columns: Numbers, labels: Mask) -> Numbers:
    """Return the coefficients [f] of a logistic regression, lightly penalised.

    The first of the `columns` [m, f] is one. The coefficients minimise the mean log loss +
    `PENALTY` * their squared length; scikit-learn's C weighs the sum of the losses against half
    that length. Where all labels are alike, only the intercept differs from 0.
    """
    if labels.all() or not labels.any():
        intercept = special.logit(_share(labels))
        return np.array([intercept, *np.zeros(columns.shape[1] - 1)])
    model = LogisticRegression(
        C=1 / (2 * len(labels) * PENALTY), fit_intercept=False, solver="newton-cholesky", tol=1e-8
    )
    return np.asarray(model.fit(columns, labels).coef_[0], dtype=np.float64)


def group_levels(group: Rows, likes: Mask, n_groups: int) -> tuple[Factors, Mask]:
    """Return each group's log-odds of liking beyond the average [n], and which has ratings [n]."""
    share = _share(likes)
    liked = np.bincount(group, likes, minlength=n_groups)
    rated = np.bincount(group, minlength=n_groups)
    odds = (liked + PRIOR_RATINGS * share) / (rated - liked + PRIOR_RATINGS * (1.0 - share))
    levels = np.log(odds) - special.logit(share)
    return levels.astype(np.float32), rated > 0


def _share(likes: Mask) -> float:
    """Return the share of likes [m], kept between .01 and .99; a half where there are none."""
    return float(np.clip(likes.mean(), 0.01, 0.99)) if len(likes) else 0.5
