"""Questions that past nights would have asked: cuts of the clock, and what followed them.

- Everything before a cut is known. Whoever comes back is asked at the cut, with the days that have
  really passed since the last visit; what they like until the next cut is true.
- Cuts are shares of the positives in order of time, so that every night asks about as many.

Trade-off: interactions of one second fall on the same side of a cut, so the shares are not exact.
"""

import numpy as np

from models.data.interactions import Interactions
from models.data.repeats import NO_REPEATS, Repeats
from models.data.splits import Trial


def night(
    interactions: Interactions,
    threshold: float,
    cut: float,
    end: float,
    repeats: Repeats = NO_REPEATS,
) -> Trial:
    """Return the question of the night at `cut`, about what was liked until `end`.

    Both are shares of the positives (values at or above `threshold`) in order of time, with
    0 <= `cut` < `end` <= 1; there has to be a positive. `repeats` says what is kept off.
    """
    times = np.sort(interactions.time[interactions.value >= threshold])
    clock = float(times[int(cut * len(times))])
    until = float(times[int(end * len(times))]) if end < 1.0 else np.inf
    past = interactions.take(interactions.time < clock)
    following = interactions.take(
        (interactions.time >= clock)
        & (interactions.time < until)
        & np.isin(interactions.user, past.user)
    )
    positives = past.positives(threshold)
    return Trial(
        train=positives,
        given=positives,
        truth=following.positives(threshold),
        labelled_train=past,
        labelled_given=past,
        labelled=following,
        candidates=np.arange(interactions.n_items),
        clock=clock,
        threshold=threshold,
        repeats=repeats,
    )
