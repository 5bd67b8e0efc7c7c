"""How sure a mean difference is: the paired bootstrap over users.

- The users' differences are drawn with replacement, as many as there are, again and again.
- The interval spans the middle 95 % of the means of the draws; the middle figure is the mean
  of the differences themselves.

Trade-off: plain percentiles, without correction for bias, as evaluation papers do.
"""

import numpy as np

from models.data.arrays import Numbers

_DRAWS_AT_ONCE = 2_000_000


def bootstrap_interval(
    ours: Numbers, theirs: Numbers, resamples: int, seed: int = 0
) -> tuple[float, float, float]:
    """Return (low, mean, high) of `ours` - `theirs` [u], the same users in the same order."""
    if ours.shape != theirs.shape or len(ours) == 0:
        raise ValueError(f"expected two equally long arrays, got {ours.shape} and {theirs.shape}")
    difference = ours - theirs
    generator = np.random.default_rng(seed)
    users = len(difference)
    block = max(_DRAWS_AT_ONCE // users, 1)
    means = np.concatenate(
        [
            difference[generator.integers(0, users, (min(block, resamples - start), users))].mean(
                axis=1
            )
            for start in range(0, resamples, block)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(difference.mean()), float(high)
