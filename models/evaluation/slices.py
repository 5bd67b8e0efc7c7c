"""NDCG by group of users or items: who is served well, and who is not.

- Users are grouped by activity (terciles of the number of positives), by whether they have any
  history, and by each of their attributes. An attribute with many numbers, such as age, is cut
  into terciles.
- Items are grouped by popularity: the least popular items that together have a third of the
  training positives, and so on. (A third of the items would have almost no positives.) The ranked
  list stays whole; only items of the group count as relevant and as hits.
- Equal values are ordered by row. A group of fewer than 10 users is left out, because its mean is
  mostly noise.

Trade-off: the same rule drops attributes that are different for almost everyone, such as
a postcode.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.data.arrays import Mask, Rows
from models.evaluation.metrics import Hits
from models.evaluation.question import Answer, Question, popularity_counts

LEAST_USERS = 10
MOST_NUMBERS = 8
TERCILES = ("low", "middle", "high")

Slices = dict[str, dict[str, dict[str, Any]]]


def ndcg_slices(
    question: Question,
    answers: Mapping[str, Sequence[Answer]],
    user_attributes: Sequence[Mapping[str, str]],
) -> Slices:
    """Return slice -> group -> {"users": count, "ndcg@10": {model: mean}}.

    A model's answers are those of its seeds, which are averaged; `user_attributes` stand by user
    row; a slice with fewer than two groups is left out.
    """
    ndcg = {
        name: np.mean([answer.ndcg() for answer in some], axis=0) for name, some in answers.items()
    }
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
    has = np.array([len(history.item) for history in question.histories], dtype=np.int64)
    groups = {
        "user activity": _terciles(has),
        "history": {"known": has > 0, "new": has == 0},
    }
    of_asked = [user_attributes[user] for user in question.users.tolist()]
    for attribute in sorted({key for attributes in of_asked for key in attributes}):
        values = [attributes.get(attribute, "") for attributes in of_asked]
        groups[attribute] = _attribute_groups(values)
    return groups


def _attribute_groups(values: Sequence[str]) -> dict[str, Mask]:
    """Return the users [u] of each value; a user without one (an empty text) is in no group."""
    texts = np.array(values)
    distinct = [str(value) for value in np.unique(texts) if value]
    if len(distinct) <= MOST_NUMBERS or not all(value.isdecimal() for value in distinct):
        return {value: texts == value for value in distinct}
    has = np.flatnonzero(texts != "")
    numbers = texts[has].astype(np.int64)
    groups = {}
    for inside in _terciles(numbers).values():
        mask = np.zeros(len(texts), dtype=np.bool_)
        mask[has[inside]] = True
        groups[f"{numbers[inside].min()} to {numbers[inside].max()}"] = mask
    return groups


def _item_slices(
    question: Question, answers: Mapping[str, Sequence[Answer]]
) -> dict[str, dict[str, Any]]:
    known = popularity_counts(question.trial.train)
    candidates = question.trial.candidates
    slices = {}
    for name, inside in _terciles(known[candidates], known[candidates]).items():
        items = np.zeros(len(known), dtype=np.bool_)
        items[candidates[inside]] = True
        relevant = np.asarray(question.truth @ items.astype(np.float64), dtype=np.int64)
        asked = relevant > 0
        if asked.sum() < LEAST_USERS:
            continue
        slices[name] = {
            "users": int(asked.sum()),
            "ndcg@10": {
                model: float(
                    np.mean([_within(one.hits, items, relevant).ndcg()[asked] for one in some])
                )
                for model, some in answers.items()
            },
        }
    return slices


def _within(hits: Hits, items: Mask, relevant: Rows) -> Hits:
    return Hits(hits.rows, hits.hits & items[hits.rows], relevant)


def _terciles(values: Rows, weights: Rows | None = None) -> dict[str, Mask]:
    """Cut `values` into thirds of their number, or of their `weights`; none where all are equal."""
    if len(np.unique(values)) < 2:
        return {}
    order = np.argsort(values, kind="stable")
    share = np.ones(len(values)) if weights is None else weights[order].astype(np.float64)
    middle = np.cumsum(share) - share / 2
    third = np.empty(len(values), dtype=np.int64)
    third[order] = np.minimum(3 * middle / share.sum(), 2).astype(np.int64)
    return {name: third == number for number, name in enumerate(TERCILES)}
