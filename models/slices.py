"""NDCG by group: who is served well, and who is not.

- Users by activity tercile (positives given), by whether they have any history, and by each
  attribute of theirs; items by tercile of training popularity.
- An item tercile keeps the whole list and counts only its own items as true and as hits.
- Terciles are equal thirds of the ranked users or items, ties by row, and are left out where all
  are equal. A group of fewer than 10 users is left out, for its mean says nothing.

Trade-off: attributes with a value for nearly everyone (a postcode) vanish by the same rule.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.comparison import Answer, Question, popularity_counts
from models.dataset import Rows
from models.metrics import Hits, Mask

LEAST_USERS = 10
TERCILES = ("low", "middle", "high")

Slices = dict[str, dict[str, dict[str, Any]]]


def ndcg_slices(
    question: Question,
    answers: Mapping[str, Answer],
    user_attributes: Sequence[Mapping[str, str]],
) -> Slices:
    """Return slice -> group -> {"users": count, "ndcg@10": {model: mean}}.

    `user_attributes` stand by user row; a slice with fewer than two groups is left out.
    """
    ndcg = {name: answer.ndcg() for name, answer in answers.items()}
    found = {
        name: {
            group: {
                "users": int(mask.sum()),
                "ndcg@10": {model: float(values[mask].mean()) for model, values in ndcg.items()},
            }
            for group, mask in groups.items()
            if mask.sum() >= LEAST_USERS
        }
        for name, groups in _user_groups(question, user_attributes).items()
    }
    found["item popularity"] = _item_slices(question, answers)
    return {name: groups for name, groups in found.items() if len(groups) > 1}


def _user_groups(
    question: Question, user_attributes: Sequence[Mapping[str, str]]
) -> dict[str, dict[str, Mask]]:
    has = np.asarray(question.given.sum(axis=1), dtype=np.int64)
    groups = {
        "user activity": _terciles(has),
        "history": {"known": has > 0, "new": has == 0},
    }
    of_asked = [user_attributes[user] for user in question.users.tolist()]
    for attribute in sorted({key for attributes in of_asked for key in attributes}):
        values = np.array([attributes.get(attribute, "") for attributes in of_asked])
        groups[attribute] = {str(value): values == value for value in np.unique(values) if value}
    return groups


def _item_slices(question: Question, answers: Mapping[str, Answer]) -> dict[str, dict[str, Any]]:
    known = popularity_counts(question.trial.train)
    candidates = question.trial.candidates
    slices = {}
    for name, inside in _terciles(known[candidates]).items():
        items = np.zeros(len(known), dtype=np.bool_)
        items[candidates[inside]] = True
        relevant = np.asarray(question.truth @ items.astype(np.float64), dtype=np.int64)
        asked = relevant > 0
        if asked.sum() < LEAST_USERS:
            continue
        slices[name] = {
            "users": int(asked.sum()),
            "ndcg@10": {
                model: float(_within(answer.hits, items, relevant).ndcg()[asked].mean())
                for model, answer in answers.items()
            },
        }
    return slices


def _within(hits: Hits, items: Mask, relevant: Rows) -> Hits:
    return Hits(hits.rows, hits.hits & items[hits.rows], relevant)


def _terciles(values: Rows) -> dict[str, Mask]:
    if len(np.unique(values)) < 2:
        return {}
    place = np.empty(len(values), dtype=np.int64)
    place[np.argsort(values, kind="stable")] = np.arange(len(values))
    third = 3 * place // len(values)
    return {name: third == number for number, name in enumerate(TERCILES)}
