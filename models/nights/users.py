"""The factors of users who are asked at some time, in torch."""

import torch
from torch import Tensor

from models.data.interactions import History
from models.data.matrices import idle_days, pad_histories
from models.network.towers import TwoTowers


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
    profiles' vectors; the newest `length` positives count.
    """
    arrays = pad_histories(histories, threshold, length, len(history_factors))
    items, ages = (torch.from_numpy(array).to(profiles.device) for array in arrays)
    idle = torch.tensor([idle_days(one, clock) for one in histories], device=profiles.device)
    return towers.user_factors(profiles, history_factors, items, ages, idle)
