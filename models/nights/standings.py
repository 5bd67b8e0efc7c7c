"""The results of several nights: every model's metrics over all of them, and the gaps to ours.

- A figure is the mean over all user-nights: over everybody who was asked in each night.
- Intervals are drawn over users, each with all of their nights, since one user's nights are alike.

Trade-off: coverage, Gini and what else describes a night's lists is a mean over nights too, weighed
by their users; no night is described by itself but for its NDCG@10.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from models.data.arrays import Factors, Numbers, Rows
from models.evaluation.contender import Contender
from models.evaluation.question import Question, headline, judge
from models.evaluation.standings import asked, intervals_to_others

AskedNight = tuple[Question, Mapping[str, Contender]]


def night_standings(
    nights: Iterable[AskedNight], ours: str, item_vectors: Factors | None, resamples: int
) -> dict[str, Any]:
    """Judge the same models on each of the `nights` and return the report's part.

    Keys are those of `models.evaluation.standings.standings`, and `nights`: each night's date,
    users and NDCG@10 by model. Only a contender's first training counts. Raises ValueError where
    there is no night.
    """
    answered: list[Rows] = []
    ndcg: dict[str, list[Numbers]] = defaultdict(list)
    metrics: dict[str, list[dict[str, float]]] = defaultdict(list)
    table: list[dict[str, Any]] = []
    for question, models in nights:
        answered.append(question.users)
        for name, model in models.items():
            answer = judge(question, model.scores[0])
            ndcg[name].append(answer.ndcg())
            metrics[name].append(headline(question, answer, item_vectors))
        means = {name: float(values[-1].mean()) for name, values in ndcg.items()}
        table.append({"date": _date(question), **asked(question), "ndcg@10": means})
    if not answered:
        raise ValueError("no nights to judge")
    weights = np.array([len(users) for users in answered], dtype=np.float64)
    users = np.concatenate(answered)
    joined = {name: np.concatenate(values) for name, values in ndcg.items()}
    return {
        "users": len(np.unique(users)),
        "new_items_liked": float(
            np.average([one["new_items_liked"] for one in table], weights=weights)
        ),
        "models": {name: _mean(some, weights) for name, some in metrics.items()},
        "seeds": {},
        "intervals": intervals_to_others(joined, ours, resamples, users),
        "interest": {},
        "chosen": {},
        "slices": {},
        "nights": table,
    }


def _date(question: Question) -> str:
    if question.trial.clock is None:
        raise ValueError("a night has a clock")
    return dt.datetime.fromtimestamp(question.trial.clock, dt.UTC).date().isoformat()


def _mean(metrics: list[dict[str, float]], weights: Numbers) -> dict[str, float]:
    names = [name for name in metrics[0] if all(name in one for one in metrics)]
    return {
        name: float(np.average([one[name] for one in metrics], weights=weights)) for name in names
    }
