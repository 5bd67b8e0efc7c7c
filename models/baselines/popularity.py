"""The simple models that every report ranks beside ours, and what they share.

- A model under test is a `Scorer`: histories and profile texts in, scores of all items out.
- `popularity`: how many have the item. `recent_popularity`: how many got it in the last days
  before the user is asked: before the clock's cut where there is one, else before the user's own
  last interaction (a user without any is asked at the end of the training part).
- `random_order`: seeded noise, each user's drawn from the users' order.

Trade-off: every baseline answers from the histories that it is handed, also those that learned a
user's own factors, so that known and new users go the same way.
"""

import numpy as np

from models.data.arrays import Scores
from models.data.interactions import SECONDS_IN_A_DAY, History, Interactions
from models.evaluation.question import Scorer


def popularity(train: Interactions) -> Scorer:
    """Score every item by its number of training positives, the same for all users."""
    counts = np.bincount(train.item, minlength=train.n_items).astype(np.float64)

    def score(histories: list[History], _profiles: list[str]) -> Scores:
        return np.tile(counts, (len(histories), 1))

    return score


def recent_popularity(train: Interactions, clock: float | None, days: int) -> Scorer:
    """Score every item by its training positives in the `days` up to the time of asking.

    `clock` in seconds; None: each user's last given interaction.
    """
    order = np.argsort(train.time, kind="stable")
    times, items = train.time[order], train.item[order]
    end_of_training = float(times[-1]) if len(times) else 0.0

    def score(histories: list[History], _profiles: list[str]) -> Scores:
        asked = np.array(
            [
                clock if clock is not None else (h.time[-1] if len(h.time) else end_of_training)
                for h in histories
            ]
        )
        first = np.searchsorted(times, asked - days * SECONDS_IN_A_DAY, side="left")
        last = np.searchsorted(times, asked, side="right")
        counts = [
            np.bincount(items[start:end], minlength=train.n_items)
            for start, end in zip(first, last, strict=True)
        ]
        return np.array(counts, dtype=np.float64).reshape(len(histories), train.n_items)

    return score


def random_order(n_items: int, seed: int) -> Scorer:
    """Score items by noise; the order of the calls and of the users decides whose it is."""
    generator = np.random.default_rng(seed)

    def score(histories: list[History], _profiles: list[str]) -> Scores:
        return generator.random((len(histories), n_items))

    return score
