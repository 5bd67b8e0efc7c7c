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

from models.data.arrays import Factors, Numbers, Rows
from models.data.interactions import History, Interactions
from models.evaluation.interest import fit_interest, liking
from models.evaluation.question import Scorer, ask
from models.objective.task import TrainingTask

_log = logging.getLogger("nightrank.train")


def with_pseudo_labels(
    task: TrainingTask, score: Scorer, vectors: Factors, confidence: float
) -> Interactions:
    """Return the labelled training part with the pairs of which the model is sure behind it.

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
    """Return the items of whose `chance` [n] the model is sure, the surest first.

    None of the `known`, and never more than these.
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
