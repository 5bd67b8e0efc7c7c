"""Pseudo-labels: confident predictions are trained on as labels, where labels are few.

- Before the training, interest prediction from the closed form and the pretrained texts gives each
  unlabelled pair of a training user a probability of liking.
- Pairs at or above the confidence become likes, pairs at or below its complement dislikes: the most
  confident first, and for a user at most as many as there are labels. They get the user's latest
  time, and only the language model is trained on them (Lee, "Pseudo-label", ICML Workshop 2013).

Trade-off: wrong predictions become wrong labels; off by default.
"""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.arrays import Factors, Numbers, Rows
from models.data.interactions import History, Interactions
from models.evaluation.interest import fit_interest, liking
from models.evaluation.question import Scorer, ask
from models.objective.task import TrainingTask

_log = logging.getLogger("nightrank.train")


def with_pseudo_labels(
    task: TrainingTask, score: Scorer, vectors: Factors, confidence: float
) -> Interactions:
    """Return the labelled training part, followed by the pairs that the model is confident about.

    `vectors` [n, w] are those of the items' texts.
    """
    trial, labelled = task.split.tuning, task.split.tuning.labelled_train
    interest = fit_interest(ask(trial, task.profiles), score, vectors, task.columns)
    blocks = liking(
        np.unique(labelled.user),
        labelled,
        task.profiles,
        task.threshold,
        score,
        interest.item_levels(vectors, task.columns),
        interest.coefficients,
    )
    values = _typical_values(labelled, task.threshold)
    parts = [labelled]
    for users, pasts, chances in blocks:
        for user, past, chance in zip(users.tolist(), pasts, chances, strict=True):
            items = _sure(past.item, chance, confidence)
            parts.append(_labelled(labelled, user, items, past, chance[items], values))
    found = _joined(parts)
    _log.info("pseudo-labels: %d beside %d labels", len(found) - len(labelled), len(labelled))
    return found


def _typical_values(labelled: Interactions, threshold: float) -> tuple[float, float]:
    """Return the mean values of likes and of dislikes; about the threshold where there are none."""
    likes = labelled.value >= threshold
    return (
        float(labelled.value[likes].mean()) if likes.any() else threshold,
        float(labelled.value[~likes].mean()) if not likes.all() else threshold - 1.0,
    )


def _sure(known: Rows, chance: Numbers, confidence: float) -> Rows:
    """Return the items whose `chance` [n] is confident, the most confident first.

    None of the `known` items, and at most as many as these.
    """
    sureness = np.maximum(chance, 1.0 - chance)
    sureness[known] = 0.0
    best = np.argsort(-sureness, kind="stable")[: len(known)]
    return best[sureness[best] >= confidence]


def _labelled(
    labelled: Interactions,
    user: int,
    items: Rows,
    past: History,
    chance: Numbers,
    values: tuple[float, float],
) -> Interactions:
    """Return the `items` [m] of a user as interactions at the latest time of `past`."""
    return Interactions(
        np.full(len(items), user, dtype=np.int64),
        items.astype(np.int64),
        np.where(chance >= 0.5, *values),
        np.full(len(items), past.time[-1]),
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
