"""A night that has passed, ranked under any weights of blocks and popularity.

- The closed form is fitted to what was known before the night.
- The mask is the night's: nothing is ranked that the user has had and may not get again.

Trade-off: items without a positive before the night are not ranked, since their factors would need
the text map; the ones that were liked still count as missed.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from models.data.arrays import Factors, Rows
from models.data.interactions import Interactions, histories
from models.data.matrices import drawn, idle_days, pad_histories
from models.data.splits import Trial
from models.evaluation.question import seen_and_found
from models.factors.popularity import RecentOptions, popularity_columns
from models.factors.start import Algorithms, collaborative_start
from models.network.towers import UserTower
from models.nights.parts import ScoreParts, unit_scores

MOST_USERS = 300


@torch.no_grad()
def past_night(
    trial: Trial,
    content: sparse.csr_array,
    profiles: Factors,
    factors: int,
    length: int,
    algorithms: Algorithms,
    recent: Sequence[RecentOptions],
) -> ScoreParts | None:
    """Fit the closed form to a night's past; None where nobody came back or nothing was known.

    `content` [n, c] and `profiles` [u, w] are those of all items and users, `factors` the
    dimensions of all blocks, `length` the newest interactions that count, `recent` what may count
    as of late. Of more than MOST_USERS users a sample is asked.
    """
    ranked = np.unique(trial.train.item)
    seen, truth = seen_and_found(trial)
    users = drawn(np.flatnonzero(truth.sum(axis=1) > 0), MOST_USERS)
    if len(users) == 0 or len(ranked) == 0 or trial.clock is None:
        return None
    labelled = numbered(trial.labelled_train, ranked)
    start = collaborative_start(
        labelled, trial.threshold, content[ranked], profiles, factors, algorithms
    )
    padded = pad_histories(histories(labelled, users), trial.threshold, length, len(ranked))
    visits = histories(trial.labelled_given, users)
    blocks, profile = unit_scores(
        UserTower(start), start.ranking, start.history, padded, profiles[users]
    )
    return ScoreParts(
        users=users,
        blocks=blocks,
        profile=profile,
        popularity=_popularity(labelled.positives(trial.threshold), recent),
        known=torch.from_numpy(padded[2].sum(axis=1)),
        idle=torch.tensor([idle_days(one, trial.clock) for one in visits]),
        allowed=seen[users][:, ranked].toarray() == 0,
        truth=truth[users][:, ranked].toarray() > 0,
        relevant=np.diff(truth[users].indptr).astype(np.int64),
    )


def _popularity(
    positives: Interactions, recent: Sequence[RecentOptions]
) -> dict[RecentOptions, Tensor]:
    return {one: torch.from_numpy(popularity_columns(positives, one)).float() for one in recent}


def numbered(interactions: Interactions, items: Rows) -> Interactions:
    """Return the interactions with `items`, ascending, which get the numbers of their places."""
    some = interactions.take(np.isin(interactions.item, items))
    return replace(some, item=np.searchsorted(items, some.item), n_items=len(items))
