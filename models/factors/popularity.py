"""The dimensions of popularity, of all time and of late, and how a user weighs them.

Counts lead those of whom little is known; logarithms, and what rises, lead those who come back.
"""

from dataclasses import dataclass

import numpy as np

from models.data.arrays import Numbers
from models.data.interactions import SECONDS_IN_A_DAY, Interactions

POPULARITY_SIZE = 4
COUNTS, PEAK = [1, 3], 8.5
SHORTEST_HALF_LIFE = SECONDS_IN_A_DAY / 24


@dataclass(frozen=True)
class Popularity:
    """Weights of the popularity dimensions: log and count of all time, log and count of late.

    With n positives of the user, d days since the newest, share = .5 ** (n / `half_length`) and s =
    1 - .5 ** (d / `idle_half_life`), the four weigh (1 - share) * (s * `returning` + (1 - s) *
    `visiting`), the count of late s * `unknown` * share more, the count of all time (1 - s) *
    `unknown_visiting` * share more. A profile counts `profile` times the sum of these two.
    """

    unknown: float = 32.0
    half_length: float = 1.5
    profile: float = 0.25
    idle_half_life: float = 0.5
    returning: tuple[float, float, float, float] = (-5.6, -0.9, 8.8, 1.5)
    visiting: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    unknown_visiting: float = 32.0


@dataclass(frozen=True)
class RecentOptions:
    """What counts as of late: not days, which differ between a news site and a film archive.

    The share was chosen on past nights of three data sets, for which it makes a week, two weeks and
    a year (docs/experiments.md).
    """

    share: float = 0.12
    """The half-life of recent popularity in the time that the newer half of the positives took."""
    times: float = 1.0
    """What the half-life is multiplied by: past nights of a data set choose it."""

    def half_life(self, positives: Interactions) -> float:
        """Return the seconds in which a positive's share of recent popularity is halved."""
        newer_half = float(positives.time.max() - np.quantile(positives.time, 0.5, method="lower"))
        return max(self.share * newer_half, SHORTEST_HALF_LIFE) * self.times


def popularity_columns(positives: Interactions, options: RecentOptions) -> Numbers:
    """Return popularity [n, 4] of all time and of late, each as logarithm and count.

    Of late: positives fade by half in the options' half-life before the newest. Logarithms have
    mean zero and deviation one. Counts have mean zero and the most popular item PEAK: in standard
    deviations it would be twice as far up in a large catalogue, where most items are hardly known.
    """
    newest = positives.time.max()
    fading = 0.5 ** ((newest - positives.time) / options.half_life(positives))
    total = np.bincount(positives.item, minlength=positives.n_items).astype(np.float64)
    recent = np.bincount(positives.item, fading, minlength=positives.n_items)
    recent *= total.sum() / max(float(recent.sum()), 1e-9)
    columns = np.stack([np.log1p(total), total, np.log1p(recent), recent], axis=1)
    columns -= columns.mean(axis=0)
    scales = columns.std(axis=0)
    scales[COUNTS] = columns[:, COUNTS].max(axis=0) / PEAK
    return np.asarray(columns / np.maximum(scales, 1e-9))
