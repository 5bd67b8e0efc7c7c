"""The guard of a refit: its lists beside those of the version that was judged.

- Both list tonight's items for the same users, from the same histories. A refit knows more, so
  lists differ; where they have little in common, or far fewer items stand on them, something is
  wrong with the data or the fit, and it doesn't serve.

Trade-off: lists that are alike are no proof of quality; nothing is left to ask a refit.
"""

from dataclasses import dataclass

import numpy as np

from jobs.gate.own_split import repeats_of
from jobs.warehouse.dataset import Dataset
from models.data.arrays import Rows
from models.data.interactions import histories
from models.data.matrices import drawn, user_item_matrix
from models.errors import InputError
from models.evaluation.metrics import top_rows
from models.evaluation.question import users_at_once
from models.evaluation.variants import open_variant
from models.serving.bundle import Bundle
from models.serving.text_vectors import TextEncoders

MOST_USERS = 2000


@dataclass(frozen=True)
class Likeness:
    """How like a refit's lists are to the judged version's.

    `overlap`: the mean share of a user's items that are on both lists; `coverage`: the different
    items on the refit's lists, for each one on the judged version's.
    """

    overlap: float
    coverage: float


def likeness(
    dataset: Dataset, judged: Bundle, refit: Bundle, k: int, encoders: TextEncoders
) -> Likeness:
    """Compare the lists of `k` items that both versions give the same users tonight."""
    before, after = (_lists(dataset, one, k, encoders) for one in (judged, refit))
    both = [np.isin(row, other[other >= 0]).sum() for row, other in zip(after, before, strict=True)]
    return Likeness(
        overlap=float(np.sum(both) / max((before >= 0).sum(), 1)),
        coverage=_different(after) / max(_different(before), 1),
    )


def refuse_surprise(found: Likeness, least_overlap: float, least_coverage: float) -> None:
    """Raise InputError where a refit's lists are too unlike those of the judged version."""
    for name, figure, least in (
        ("overlap", found.overlap, least_overlap),
        ("coverage", found.coverage, least_coverage),
    ):
        if figure < least:
            raise InputError(
                f"refit: the {name} of its lists with those of the judged version is "
                f"{figure:.2f}, and setting `refit_{name}` asks for {least:g}: look at what was "
                "ingested since the training, or promote with `--as-judged`; the champion stays"
            )


def _lists(dataset: Dataset, version: Bundle, k: int, encoders: TextEncoders) -> Rows:
    """Return the item rows [u, k] of each user's list tonight, -1 where there are fewer."""
    events, catalogue = dataset.interactions, dataset.catalogue
    tonight = float(events.time.max())
    score = open_variant(version, "shipped", catalogue, encoders).asked_at(tonight)
    had = user_item_matrix(repeats_of(version).repeat_policy.not_to_repeat(events, tonight))
    users = drawn(np.arange(events.n_users), MOST_USERS)
    at_once, lists = users_at_once(events.n_items), []
    for start in range(0, len(users), at_once):
        block = users[start : start + at_once]
        scores = score(histories(events, block), [dataset.profiles[user] for user in block])
        lists.append(top_rows(scores, catalogue.available & (had[block].toarray() == 0), k))
    return np.concatenate(lists)


def _different(lists: Rows) -> int:
    return len(np.unique(lists[lists >= 0]))
