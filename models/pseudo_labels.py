"""Pseudo-labels: what the model is sure of teaches it too, where labels are few.

- Before the training, interest prediction from the closed form and the pretrained texts gives every
  unlabelled pair of a user who trains a probability of liking.
- Pairs at or above the confidence become likes, pairs at or below its complement dislikes, the
  surest first, never more for a user than there are labels. They stand at the user's latest time,
  and the language model alone learns from them (Lee, "Pseudo-label", ICML Workshop 2013).

Trade-off: the model's own mistakes come back as labels; off by default.
"""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.baselines import Scorer
from models.comparison import USERS_AT_ONCE, ask, standardised
from models.dataset import Factors, Interactions, Rows, histories
from models.interest import fit_interest, group_levels, pair_features, probabilities
from models.metrics import Numbers
from models.task import TrainingTask

_log = logging.getLogger("nightrank.train")


def with_pseudo_labels(
    task: TrainingTask, score: Scorer, vectors: Factors, confidence: float
) -> Interactions:
    """Return the labelled training part with the pairs of which the model is sure behind it.

    `vectors` [n, w] are those of the items' texts.
    """
    trial, labelled = task.split.tuning, task.split.tuning.labelled_train
    interest = fit_interest(ask(trial, task.profiles), score, vectors, task.columns)
    item_levels = interest.item_levels(vectors, task.columns)
    user_levels, _ = group_levels(labelled.user, labelled.value >= task.threshold, labelled.n_users)
    everyone = np.unique(labelled.user)
    parts = [labelled]
    for start in range(0, len(everyone), USERS_AT_ONCE):
        users = everyone[start : start + USERS_AT_ONCE]
        pasts = histories(labelled, users)
        scores = standardised(score(pasts, [task.profiles[user] for user in users]))
        for row, user in enumerate(users.tolist()):
            columns = pair_features(scores[row], item_levels, user_levels[user])
            chosen = probabilities(interest.coefficients, columns)
            parts.append(_sure(labelled, user, pasts[row].item, chosen, confidence, task.threshold))
    found = _joined(parts)
    _log.info("pseudo-labels: %d beside %d labels", len(found) - len(labelled), len(labelled))
    return found


def _sure(
    labelled: Interactions,
    user: int,
    known: Rows,
    liking: Numbers,
    confidence: float,
    threshold: float,
) -> Interactions:
    """Return a user's pairs whose probability of `liking` [n] is sure, as interactions."""
    sureness = np.maximum(liking, 1.0 - liking)
    sureness[known] = 0.0
    best = np.argsort(-sureness, kind="stable")[: len(known)]
    items = best[sureness[best] >= confidence]
    likes = labelled.value >= threshold
    typical = [
        labelled.value[part].mean() if part.any() else threshold - otherwise
        for part, otherwise in ((likes, 0.0), (~likes, 1.0))
    ]
    return Interactions(
        np.full(len(items), user, dtype=np.int64),
        items.astype(np.int64),
        np.where(liking[items] >= 0.5, *typical),
        np.full(len(items), labelled.time[labelled.user == user].max()),
        labelled.n_users,
        labelled.n_items,
    )


def _joined(parts: list[Interactions]) -> Interactions:
    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    first = parts[0]
    return Interactions(
        column("user"), column("item"), column("value"), column("time"),
        first.n_users, first.n_items,
    )  # fmt: skip
