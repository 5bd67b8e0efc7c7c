"""The result of a split: every model's metrics, our distance from the others, and the slices."""

from collections.abc import Mapping, Sequence
from typing import Any

from models.bootstrap import bootstrap_interval
from models.comparison import Question, headline, judge
from models.contenders import Contender
from models.dataset import Factors
from models.slices import ndcg_slices


def standings(
    question: Question,
    models: Mapping[str, Contender],
    ours: str,
    item_vectors: Factors | None,
    user_attributes: Sequence[Mapping[str, str]],
    resamples: int,
) -> dict[str, Any]:
    """Judge `models` on one question and return the split's part of the report.

    - `users`: how many were asked. `models`: metrics by model. `chosen`: what validation chose.
    - `intervals`: "ours-other" -> (low, mean, high) of the difference in NDCG@10; none where
      `ours` isn't among the models.
    - `slices`: NDCG@10 by group, see `models.slices`; `user_attributes` stand by user row.
    """
    answers = {name: judge(question, model.score) for name, model in models.items()}
    ndcg = {name: answer.ndcg() for name, answer in answers.items()}
    others = [name for name in models if ours in models and name != ours]
    return {
        "users": len(question.users),
        "models": {name: headline(question, one, item_vectors) for name, one in answers.items()},
        "intervals": {
            f"{ours}-{name}": bootstrap_interval(ndcg[ours], ndcg[name], resamples)
            for name in others
        },
        "chosen": {name: model.chosen for name, model in models.items() if model.chosen},
        "slices": ndcg_slices(question, answers, user_attributes),
    }
