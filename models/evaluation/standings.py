"""The results of a split: every model's metrics, the gaps to our model, and NDCG by group.

- A model that was trained with several seeds is averaged over them: each metric, and each user's
  NDCG@10 before users are resampled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.data.arrays import Factors, Numbers, Rows
from models.evaluation.bootstrap import bootstrap_interval
from models.evaluation.contender import Contender
from models.evaluation.metrics import area_under_curve, calibration_error, reliability
from models.evaluation.question import (
    Answer,
    Question,
    headline,
    judge,
    labelled_pairs,
    new_items_liked,
)
from models.evaluation.slices import ndcg_slices


def standings(
    question: Question,
    models: Mapping[str, Contender],
    ours: str,
    item_vectors: Factors | None,
    user_attributes: Sequence[Mapping[str, str]],
    resamples: int,
) -> dict[str, Any]:
    """Judge `models` on one question and return the split's part of the report.

    - `users`: how many were asked, of a sample also `drawn_from`; `new_items_liked`: the share of
      what is true that nobody had liked before. `models`: metrics by model.
    - `chosen`: what validation chose. `seeds`: each training's metrics, of more than one.
    - `intervals`: "ours-other" -> (low, mean, high) of the difference in NDCG@10, and "ours" -> of
      ours itself; none where `ours` isn't among the models.
    - `interest`: how well labelled pairs were predicted, by model that does so.
    - `slices`: NDCG@10 by group, see `models.evaluation.slices`; `user_attributes` are by user row.
    """
    answers = {
        name: [judge(question, score) for score in model.scores] for name, model in models.items()
    }
    interest = {
        name: _interest(question, model, answers[name])
        for name, model in models.items()
        if model.probabilities and len(labelled_pairs(question)[0])
    }
    ndcg = {name: _ndcg(some) for name, some in answers.items()}
    metrics = {
        name: [headline(question, one, item_vectors) for one in some]
        for name, some in answers.items()
    }
    return {
        **asked(question),
        "models": {name: _mean(some) for name, some in metrics.items()},
        "seeds": {name: some for name, some in metrics.items() if len(some) > 1},
        "intervals": intervals_to_others(ndcg, ours, resamples) if ours in models else {},
        "interest": interest,
        "chosen": {name: model.chosen for name, model in models.items() if model.chosen},
        "slices": ndcg_slices(question, answers, user_attributes),
    }


def intervals_to_others(
    ndcg: Mapping[str, Numbers], ours: str, resamples: int, users: Rows | None = None
) -> dict[str, tuple[float, float, float]]:
    """Return (low, mean, high) of `ours`, and of its gap to each other model.

    `ndcg` are the models' NDCG@10 [m] of the same answers, `users` [m] those who gave them; None:
    one answer each.
    """
    nothing = np.zeros_like(ndcg[ours])
    found = {ours: bootstrap_interval(ndcg[ours], nothing, resamples, users=users)}
    return found | {
        f"{ours}-{name}": bootstrap_interval(ndcg[ours], theirs, resamples, users=users)
        for name, theirs in ndcg.items()
        if name != ours
    }


def asked(question: Question) -> dict[str, float]:
    """Return the number of `users` asked, of how many if a sample, and `new_items_liked`."""
    users = len(question.users)
    sample = {"drawn_from": question.drawn_from} if question.drawn_from > users else {}
    return {"users": users, **sample, "new_items_liked": new_items_liked(question)}


def _ndcg(answers: Sequence[Answer]) -> Numbers:
    return np.asarray(np.mean([answer.ndcg() for answer in answers], axis=0))


def _mean(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in metrics])) for name in metrics[0]}


def _interest(question: Question, model: Contender, answers: Sequence[Answer]) -> dict[str, Any]:
    """Return ROC-AUC and expected calibration error, and the first training's reliability."""
    labels = labelled_pairs(question)[0].value >= question.trial.threshold
    said = [
        probability(question, answer.pair_scores)
        for probability, answer in zip(model.probabilities, answers, strict=True)
    ]
    curves = [area_under_curve(one, labels) for one in said]
    areas = [area for area in curves if area is not None]
    return {
        "pairs": len(labels),
        "auc": float(np.mean(areas)) if areas else None,
        "calibration_error": float(np.mean([calibration_error(one, labels) for one in said])),
        "reliability": reliability(said[0], labels),
    }
