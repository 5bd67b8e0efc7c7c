"""How sure a mean difference is: the paired bootstrap over users.

- The users' differences are drawn with replacement, as many as there are, again and again
  (`scipy.stats.bootstrap`).
- The interval spans the middle 95 % of the means of the draws; the middle figure is the mean
  of the differences themselves.

Trade-off: plain percentiles, without correction for bias, as evaluation papers do.
"""

import numpy as np
from scipy import stats

from models.data.arrays import Numbers

_DRAWS_AT_ONCE = 2_000_000


def bootstrap_interval(
    ours: Numbers, theirs: Numbers, resamples: int, seed: int = 0
) -> tuple[float, float, float]:
    """Return (low, mean, high) of `ours` - `theirs` [u], the same users in the same order.

    Raises ValueError where the arrays differ in length or are empty.
    """
    if ours.shape != theirs.shape or len(ours) == 0:
        raise ValueError(f"expected two equally long arrays, got {ours.shape} and {theirs.shape}")
    difference = ours - theirs
    mean = float(difference.mean())
    if len(difference) == 1:  # SciPy refuses a single user, whose resamples are all alike
        return mean, mean, mean
    found = stats.bootstrap(
        (difference,),
        np.mean,
        n_resamples=resamples,
        batch=max(_DRAWS_AT_ONCE // len(difference), 1),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), mean, float(found.high)
