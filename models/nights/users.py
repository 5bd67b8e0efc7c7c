"""Users who are asked at some time, in torch: their factors, and their scores of all items."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.data.arrays import Factors
from models.data.interactions import History
from models.data.matrices import idle_days, pad_histories
from models.network.towers import TwoTowers


@dataclass(frozen=True)
class TowerScorer:
    """Scores users by the towers and the `ranking` [n, d] and `history` factors [n, h] of items.

    `vectors` hold those of the profiles, each in the row that `rows` names; the newest `length`
    interactions count. `clock` is the time of asking in seconds, None for right after each user's
    newest interaction.
    """

    towers: TwoTowers
    ranking: Tensor
    history: Tensor
    vectors: Tensor
    rows: Mapping[str, int]
    threshold: float
    length: int
    clock: float | None

    @torch.no_grad()
    def __call__(self, histories: list[History], profiles: list[str]) -> Factors:
        """Return scores [u, n]."""
        rows = [self.rows[profile] for profile in profiles]
        users = user_factors(
            self.towers,
            self.vectors[torch.tensor(rows, device=self.vectors.device)],
            self.history,
            histories,
            self.threshold,
            self.length,
            self.clock,
        )
        scores: Factors = (users @ self.ranking.T).cpu().numpy()
        return scores


def user_factors(
    towers: TwoTowers,
    profiles: Tensor,
    history_factors: Tensor,
    histories: list[History],
    threshold: float,
    length: int,
    clock: float | None = None,
) -> Tensor:
    """Return the factors [u, d] of users who are asked at `clock`, in seconds.

    Without a clock each is asked right after their newest interaction. `profiles` [u, w] are their
    profiles' vectors; the newest `length` interactions count.
    """
    arrays = pad_histories(histories, threshold, length, len(history_factors))
    items, ages, liked = (torch.from_numpy(array).to(profiles.device) for array in arrays)
    idle = torch.tensor([idle_days(one, clock) for one in histories], device=profiles.device)
    return towers.user_factors(profiles, history_factors, items, ages, liked, idle)
