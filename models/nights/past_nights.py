"""A night that has passed, ranked under any weights of blocks and popularity.

- The closed form is fitted to what was known before the night, and every part of the score is kept
  by itself, so that other weights cost a weighted sum and not another fit.
- The mask is the night's: nothing is ranked with which the user has any interaction.

Trade-off: items without a positive before the night are not ranked, since their factors would need
the text map; the ones that were liked still count as missed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from models.data.arrays import Factors, Mask, Numbers, Rows
from models.data.interactions import Interactions, histories
from models.data.matrices import idle_days, pad_histories
from models.data.splits import Trial
from models.evaluation.metrics import Hits, top_rows
from models.evaluation.question import CUTOFF, seen_and_found
from models.factors.popularity import popularity_columns
from models.factors.start import Algorithms, Start, collaborative_start
from models.network.towers import Contexts, UserTower, block_gains

MOST_USERS = 300
USERS_AT_ONCE = 64


@dataclass(frozen=True)
class PastNight:
    """The users [u] of a night and the parts of their scores of the n items with positives.

    `blocks` are the scores [u, n] of each block's unit vectors and `profile` [u, n] those of the
    profile's; `popularity` the popularity dimensions [n, 4] by half-life in days; `known` [u]
    positives, `idle` [u] days away; `allowed` and `truth` [u, n]; `relevant` [u] true items, also
    of those that aren't ranked.
    """

    users: Rows
    blocks: tuple[Tensor, ...]
    profile: Tensor
    popularity: dict[float, Tensor]
    known: Tensor
    idle: Tensor
    allowed: Mask
    truth: Mask
    relevant: Rows

    @torch.no_grad()
    def ndcg(self, chosen: Algorithms) -> Numbers:
        """Return each user's NDCG@10 [u] under the weights of `chosen`."""
        contexts = Contexts.of(self.known, self.idle, chosen.popularity)
        scores = contexts.popularity @ self.popularity[chosen.recent.half_life_days].T
        scores += contexts.profile.unsqueeze(1) * self.profile
        gains = block_gains([block.weights for block in chosen.blocks], contexts)
        for gain, part in zip(gains, self.blocks, strict=True):
            scores += gain.unsqueeze(1) * part
        best = top_rows(scores.numpy(), self.allowed, CUTOFF)
        hits = np.take_along_axis(self.truth, np.maximum(best, 0), axis=1) & (best >= 0)
        return Hits(best, hits, self.relevant).ndcg()


@torch.no_grad()
def past_night(
    trial: Trial,
    content: sparse.csr_array,
    profiles: Factors,
    factors: int,
    length: int,
    algorithms: Algorithms,
    half_lives: Iterable[float],
) -> PastNight | None:
    """Fit the closed form to a night's past; None where nobody came back or nothing was known.

    `content` [n, c] and `profiles` [u, w] are those of all items and users, `factors` the
    dimensions of all blocks, `length` the newest interactions that count. Of more than MOST_USERS
    users a sample is asked.
    """
    ranked = np.unique(trial.train.item)
    seen, truth = seen_and_found(trial)
    users = _sample(np.flatnonzero(truth.sum(axis=1) > 0))
    if len(users) == 0 or len(ranked) == 0 or trial.clock is None:
        return None
    labelled = numbered(trial.labelled_train, ranked)
    positives = labelled.positives(trial.threshold)
    start = collaborative_start(
        labelled, trial.threshold, sparse.csr_array(content[ranked]), profiles, factors, algorithms
    )
    past, visits = histories(labelled, users), histories(trial.labelled_given, users)
    padded = pad_histories(past, trial.threshold, length, len(ranked))
    blocks, profile = _parts(start, *padded, torch.from_numpy(profiles[users]))
    return PastNight(
        users=users,
        blocks=blocks,
        profile=profile,
        popularity=_popularity(positives, algorithms, half_lives),
        known=torch.from_numpy(padded[2].sum(axis=1)),
        idle=torch.tensor([idle_days(one, trial.clock) for one in visits]),
        allowed=seen[users][:, ranked].toarray() == 0,
        truth=truth[users][:, ranked].toarray() > 0,
        relevant=np.diff(truth[users].indptr).astype(np.int64),
    )


def _popularity(
    positives: Interactions, algorithms: Algorithms, half_lives: Iterable[float]
) -> dict[float, Tensor]:
    options = [replace(algorithms.recent, half_life_days=days) for days in half_lives]
    return {
        one.half_life_days: torch.from_numpy(popularity_columns(positives, one)).float()
        for one in options
    }


def _sample(users: Rows) -> Rows:
    if len(users) <= MOST_USERS:
        return users
    return np.sort(np.random.default_rng(0).choice(users, MOST_USERS, replace=False))


def numbered(interactions: Interactions, items: Rows) -> Interactions:
    """Return the interactions with `items`, ascending, which get the numbers of their places."""
    some = interactions.take(np.isin(interactions.item, items))
    return replace(some, item=np.searchsorted(items, some.item), n_items=len(items))


def _parts(
    start: Start, items: Rows, ages: Factors, liked: Factors, profiles: Tensor
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the scores [u, n] of each block's unit vectors, and those of the profiles'."""
    tower = UserTower(start)
    history = torch.nn.functional.pad(torch.from_numpy(start.history), (0, 0, 0, 1))
    sizes = [*(block.size for block in start.blocks), tower.profile_weights.shape[1]]
    ranking = torch.from_numpy(start.ranking[:, : sum(sizes)])
    batches = []
    for first in range(0, len(items), USERS_AT_ONCE):
        batch = slice(first, first + USERS_AT_ONCE)
        units = tower.history_units(
            history, *(torch.from_numpy(array[batch]) for array in (items, ages, liked))
        )
        batches.append([*units, tower.profile_units(profiles[batch])])
    *blocks, profile = (
        torch.cat(units) @ part.T
        for units, part in zip(
            zip(*batches, strict=True), torch.split(ranking, sizes, dim=1), strict=True
        )
    )
    return tuple(blocks), profile
