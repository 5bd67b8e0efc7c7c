"""Repeats: whether an item that a user has had may be listed again, and from when on.

Three policies, said in days since the user last had the item: None for never, a number for not
before so many days have passed, and 0 for always.
"""

import numpy as np

from models.data.arrays import Mask, Numbers
from models.data.interactions import SECONDS_IN_A_DAY, Interactions


def kept_off(time: Numbers, asked: Numbers | float, repeat_days: float | None) -> Mask:
    """Return which interactions [n] keep their item off a list that is made at `asked`.

    `time` [n] and `asked`, one for all or [n], are in seconds.
    """
    if repeat_days is None:
        return np.ones(len(time), dtype=np.bool_)
    if repeat_days == 0:
        return np.zeros(len(time), dtype=np.bool_)
    return np.asarray(time > asked - repeat_days * SECONDS_IN_A_DAY)


def not_to_repeat(
    interactions: Interactions, clock: float | None, repeat_days: float | None
) -> Interactions:
    """Return the interactions that keep their item off the list of their user.

    Users are asked at `clock`, in seconds, or each right after their newest interaction where it is
    None.
    """
    asked = np.full(interactions.n_users, -np.inf if clock is None else clock)
    if clock is None:
        np.maximum.at(asked, interactions.user, interactions.time)
    return interactions.take(kept_off(interactions.time, asked[interactions.user], repeat_days))
