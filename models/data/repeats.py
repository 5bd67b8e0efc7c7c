"""Repeats: what counts as having had an item, and when such an item may be listed again.

- An interaction whose value is at least `had_from` says that its user has had the item, and so does
  a negative one: who returns something has had it. A view or a cart, of less value, keeps nothing
  off a list.
- Three policies, in days since the user last had the item: None for never, a number for not before
  so many days have passed, and 0 for always.
"""

from dataclasses import dataclass

import numpy as np

from models.data.arrays import Mask, Numbers
from models.data.interactions import SECONDS_IN_A_DAY, Interactions


@dataclass(frozen=True)
class Repeats:
    """After how many `days` an item may be listed again, None for never, 0 for always.

    An item is had by an interaction of at least `had_from`, or by a negative one; 0: by any.
    """

    days: float | None = None
    had_from: float = 0.0

    def kept_off(self, value: Numbers, time: Numbers, asked: Numbers | float) -> Mask:
        """Return which interactions [n] keep their item off a list that is made at `asked`.

        `value` [n] are theirs; `time` [n] and `asked`, one for all or [n], are in seconds.
        """
        had = (value >= self.had_from) | (value < 0)
        if self.days is None:
            return np.asarray(had)
        if self.days == 0:
            return np.zeros(len(time), dtype=np.bool_)
        return np.asarray(had & (time > asked - self.days * SECONDS_IN_A_DAY))

    def not_to_repeat(self, interactions: Interactions, clock: float | None) -> Interactions:
        """Return the interactions that keep their item off the list of their user.

        Users are asked at `clock`, in seconds, or each right after their newest interaction where
        it is None.
        """
        asked = np.full(interactions.n_users, -np.inf if clock is None else clock)
        if clock is None:
            np.maximum.at(asked, interactions.user, interactions.time)
        return interactions.take(
            self.kept_off(interactions.value, interactions.time, asked[interactions.user])
        )


NO_REPEATS = Repeats()
