"""How sure a mean difference is: the paired bootstrap over users.

- The users' differences are drawn with replacement, as many as there are, again and again
  (`scipy.stats.bootstrap`).
- The interval spans the middle 95 % (`confidence`) of the means of the draws; the middle figure
  is the mean of the differences themselves.

Trade-off: plain percentiles, without correction for bias, as evaluation papers do.
"""

import numpy as np
from scipy import stats

from models.data.arrays import Numbers, Rows

_DRAWS_AT_ONCE = 2_000_000


def bootstrap_interval(
    ours: Numbers,
    theirs: Numbers,
    resamples: int,
    seed: int = 0,
    users: Rows | None = None,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Return (low, mean, high) of `ours` - `theirs` [m], the same answers in the same order.

    `users` [m] are those who gave the answers, drawn with all of theirs; None: one answer each.
    Raises ValueError where the arrays differ in length or are empty.
    """
    if ours.shape != theirs.shape or len(ours) == 0:
        raise ValueError(f"expected two equally long arrays, got {ours.shape} and {theirs.shape}")
    _, place = np.unique(np.arange(len(ours)) if users is None else users, return_inverse=True)
    sums, answers = np.bincount(place, ours - theirs), np.bincount(place).astype(np.float64)
    mean = float(sums.sum() / answers.sum())
    if len(sums) == 1:  # SciPy refuses a single user, whose resamples are all alike
        return mean, mean, mean
    found = stats.bootstrap(
        (sums, answers),
        _mean_answer,
        paired=True,
        n_resamples=resamples,
        batch=max(_DRAWS_AT_ONCE // len(sums), 1),
        method="percentile",
        confidence_level=confidence,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), mean, float(found.high)


def _mean_answer(sums: Numbers, answers: Numbers, axis: int) -> Numbers:
    return np.asarray(sums.sum(axis=axis) / answers.sum(axis=axis))
