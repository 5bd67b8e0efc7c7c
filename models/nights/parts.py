"""The scores of the users that a question asks, in parts: any weights cost a sum, not a fit.

Trade-off: every part holds a score for every user and item, so questions are asked of a sample.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.data.arrays import Factors, Mask, Numbers, Rows
from models.evaluation.metrics import Hits, top_rows
from models.evaluation.question import CUTOFF
from models.factors.popularity import RecentOptions
from models.factors.start import Algorithms
from models.network.towers import Contexts, UserTower, block_gains

USERS_AT_ONCE = 64


@dataclass(frozen=True)
class ScoreParts:
    """The parts of the scores of `users` [u] for n items.

    `blocks` are the scores [u, n] of each block's unit vectors and `profile` [u, n] those of the
    profile's; `popularity` the popularity dimensions [n, 4] by what counts as of late; `known` [u]
    positives, `idle` [u] days away; `allowed` and `truth` [u, n]; `relevant` [u] true items, also
    of those that aren't ranked.
    """

    users: Rows
    blocks: tuple[Tensor, ...]
    profile: Tensor
    popularity: dict[RecentOptions, Tensor]
    known: Tensor
    idle: Tensor
    allowed: Mask
    truth: Mask
    relevant: Rows

    @torch.no_grad()
    def ndcg(self, chosen: Algorithms) -> Numbers:
        """Return each user's NDCG@10 [u] under the weights of `chosen`."""
        contexts = Contexts.of(self.known, self.idle, chosen.popularity)
        scores = contexts.popularity @ self.popularity[chosen.recent].T
        scores += contexts.profile.unsqueeze(1) * self.profile
        gains = block_gains([block.weights for block in chosen.blocks], contexts)
        for gain, part in zip(gains, self.blocks, strict=True):
            scores += gain.unsqueeze(1) * part
        best = top_rows(scores.numpy(), self.allowed, CUTOFF)
        hits = np.take_along_axis(self.truth, np.maximum(best, 0), axis=1) & (best >= 0)
        return Hits(best, hits, self.relevant).ndcg()


@torch.no_grad()
def unit_scores(
    tower: UserTower,
    ranking: Factors,
    history: Factors,
    padded: tuple[Rows, Factors, Factors],
    profiles: Factors,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the scores [u, n] of each block's unit vectors, and those of the profiles'.

    `ranking` [n, d] and `history` factors [n, h] are those of the items; `padded` are items, ages
    and likes [u, l] as `pad_histories` gives them, `profiles` [u, w] the profiles' vectors.
    """
    factors = torch.nn.functional.pad(torch.from_numpy(history), (0, 0, 0, 1))
    sizes = [*(block.size for block in tower.blocks), tower.profile_weights.shape[1]]
    batches = []
    for first in range(0, len(profiles), USERS_AT_ONCE):
        batch = slice(first, first + USERS_AT_ONCE)
        units = tower.history_units(factors, *(torch.from_numpy(array[batch]) for array in padded))
        batches.append([*units, tower.profile_units(torch.from_numpy(profiles[batch]))])
    *blocks, profile = (
        torch.cat(units) @ part.T
        for units, part in zip(
            zip(*batches, strict=True),
            torch.split(torch.from_numpy(ranking)[:, : sum(sizes)], sizes, dim=1),
            strict=True,
        )
    )
    return tuple(blocks), profile
