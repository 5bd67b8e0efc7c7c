"""How a night weighs blocks and popularity: chosen on nights that have passed, or the default.

- What people who come back like next differs between data sets: what rises this fortnight, what
  has been popular for a year, or what is like all that they ever liked. No constant serves all.
- Popularity's half-life, a multiple of the default, its form and its weight are chosen first,
  together, then each block's weight for users who come back, each by the mean NDCG@10 of the past
  nights' users.
- How much popularity counts for users of whom little is known leaves the default only where that
  gains beyond its interval over the same choice without it: where people buy five things in all,
  it would drown what they bought, and where histories are long it says little. It drowns the other
  weights of popularity too, so that these are chosen again after it. Whoever has no history gets
  the same list in any case.
- For each night the choice is made on the others. It stands only where the gain over the default,
  so measured, has a 95 % interval above zero. Nights are left out and not users, because what is
  popular in a night is so for all of its users.

Trade-off: a few values for each weight and one pass over them, not a fit by gradients: likelihood
was tried and ranks worse (docs/experiments.md), and few users come back.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Mask, Numbers, Rows
from models.data.interactions import SECONDS_IN_A_DAY, Interactions
from models.data.nights import night
from models.data.repeats import NO_REPEATS, Repeats
from models.data.splits import Trial
from models.evaluation.bootstrap import bootstrap_interval
from models.evaluation.question import seen_and_found
from models.factors.popularity import RecentOptions
from models.factors.start import Algorithms
from models.nights.parts import ScoreParts
from models.nights.past_nights import past_night

CUTS = (0.5, 0.6, 0.7, 0.8, 0.9)
HALF_LIVES = (1.0, 0.125, 0.25, 0.5, 2.0, 4.0, 8.0)
RISING, LEVEL, COUNT = (-5.6, -0.9, 8.8, 1.5), (0.0, 0.0, 3.0, 1.0), (0.0, 0.0, 0.0, 3.0)
SCALES = (0.1, 0.3, 1.0, 3.0)
UNKNOWNS = (1.0, 0.3, 0.1, 0.03, 0.01)  # shares of the default
GAINS = (0.0, 0.15, 0.5, 1.0)
LEAST_USERS, RESAMPLES = 20, 2000

Neighbours = Callable[[Algorithms], Iterable[Algorithms]]

_log = logging.getLogger("nightrank.train")


@dataclass(frozen=True)
class NightChoice:
    """The algorithms that a night weighs by, and what they were chosen on.

    `half_life_days` is that of recent popularity in the whole training part; `users` who came back
    in the past nights, each counted once; where they were enough to tell, the NDCG@10 of the
    `default` weights and of the `chosen` ones, in nights that the choice didn't see, and the `gain`
    as (low, mean, high).
    """

    algorithms: Algorithms
    half_life_days: float = 0.0
    users: int = 0
    default: float = 0.0
    chosen: float = 0.0
    gain: tuple[float, float, float] | None = None

    def metrics(self) -> dict[str, float]:
        """Return the figures by name, as a version keeps them."""
        always = {
            "night_users": self.users,
            "recent_half_life_days": self.half_life_days,
        }
        if self.gain is None:
            return always
        low, mean, high = self.gain
        return {
            **always,
            "night_ndcg_default_weights": self.default,
            "night_ndcg_chosen_weights": self.chosen,
            "night_gain_low": low,
            "night_gain": mean,
            "night_gain_high": high,
        }


def choose_night_weights(
    labelled: Interactions,
    threshold: float,
    content: sparse.csr_array,
    profiles: Factors,
    factors: int,
    length: int,
    default: Algorithms,
    repeats: Repeats = NO_REPEATS,
) -> NightChoice:
    """Choose on the last nights of the `labelled` interactions of a training part.

    `content` [n, c] are the items' text and attribute features, `profiles` [u, w] the users'
    profile vectors, `factors` the dimensions of all blocks together, `length` the newest
    interactions of a user that count, `repeats` what is kept off. The `default` stands
    where nothing is better.
    """
    ends = (*CUTS[1:], 1.0)
    trials = [
        night(labelled, threshold, cut, end, repeats) for cut, end in zip(CUTS, ends, strict=True)
    ]
    back = len(np.unique(np.concatenate([_came_back(trial) for trial in trials])))
    if back < LEAST_USERS:
        _log.info("weights of the night: default, since only %d users came back", back)
        return NightChoice(default, _days(default, labelled, threshold), back)
    found = [
        past_night(trial, content, profiles, factors, length, default, _recents(default))
        for trial in trials
    ]
    choice = choose([one for one in found if one is not None], default)
    _log_choice(choice, default)
    return replace(choice, half_life_days=_days(choice.algorithms, labelled, threshold))


def _log_choice(choice: NightChoice, default: Algorithms) -> None:
    low, _, high = choice.gain or (0.0, 0.0, 0.0)
    _log.info(
        "weights of the night: %d users came back, NDCG@10 %.4f by default, %.4f chosen, gain "
        "[%.4f, %.4f]: %s",
        choice.users,
        choice.default,
        choice.chosen,
        low,
        high,
        "default" if choice.algorithms == default else "chosen",
    )


def _days(algorithms: Algorithms, labelled: Interactions, threshold: float) -> float:
    return algorithms.recent.half_life(labelled.positives(threshold)) / SECONDS_IN_A_DAY


def _came_back(trial: Trial) -> Rows:
    """Return the users who liked something new in a night."""
    _, found = seen_and_found(trial)
    return np.flatnonzero(found.sum(axis=1) > 0)


def choose(nights: Sequence[ScoreParts], default: Algorithms) -> NightChoice:
    """Choose on `nights`; the `default` stands where too few users came back to tell."""
    users = np.concatenate([one.users for one in nights]) if nights else np.zeros(0, dtype=np.int64)
    asked = np.unique(users)
    if len(nights) < 2 or len(asked) < LEAST_USERS:
        return NightChoice(default, users=len(asked))

    @cache
    def ndcg(chosen: Algorithms) -> Numbers:
        return np.concatenate([one.ndcg(chosen) for one in nights])

    every = np.ones(len(users), dtype=np.bool_)
    night_of = np.repeat(np.arange(len(nights)), [len(one.users) for one in nights])

    def unseen(pick: Callable[[Mask], Algorithms]) -> Numbers:
        """Return each user's NDCG@10 under what is picked on the other nights."""
        found = np.zeros(len(users))
        for number in range(len(nights)):
            away = night_of == number
            found[away] = ndcg(pick(~away))[away]
        return _by_user(found, users)

    before = _by_user(ndcg(default), users)
    kinds, after = _KINDS, unseen(partial(_best, ndcg, default, _KINDS))
    with_unknown = unseen(partial(_best, ndcg, default, _WITH_UNKNOWN))
    if bootstrap_interval(with_unknown, after, RESAMPLES)[0] > 0:
        kinds, after = _WITH_UNKNOWN, with_unknown
    gain = bootstrap_interval(after, before, RESAMPLES)
    algorithms = _best(ndcg, default, kinds, every) if gain[0] > 0 else default
    return NightChoice(
        algorithms,
        users=len(asked),
        default=float(before.mean()),
        chosen=float(after.mean()),
        gain=gain,
    )


def _best(
    ndcg: Callable[[Algorithms], Numbers],
    default: Algorithms,
    kinds: Sequence[Neighbours],
    seen: Mask,
) -> Algorithms:
    """Return what is best on the users `seen`, one kind of weight after another."""
    best = default
    for neighbours in (*kinds, *(_gains_of(row) for row in range(len(default.blocks)))):
        best = _best_of(ndcg, best, neighbours(best), seen)
    return best


def _best_of(
    ndcg: Callable[[Algorithms], Numbers],
    best: Algorithms,
    candidates: Iterable[Algorithms],
    seen: Mask,
) -> Algorithms:
    for candidate in candidates:
        if ndcg(candidate)[seen].mean() > ndcg(best)[seen].mean():
            best = candidate
    return best


def _unknowns(algorithms: Algorithms) -> Iterator[Algorithms]:
    weighing = algorithms.popularity
    for share in UNKNOWNS:
        less = replace(weighing, unknown=share * weighing.unknown)
        yield replace(algorithms, popularity=less)


def _recents(algorithms: Algorithms) -> list[RecentOptions]:
    return [replace(algorithms.recent, times=times) for times in HALF_LIVES]


def _popularities(algorithms: Algorithms) -> Iterator[Algorithms]:
    for recent in _recents(algorithms):
        for form in (RISING, LEVEL, COUNT):
            for scale in SCALES:
                first, second, third, fourth = (scale * weight for weight in form)
                yield replace(
                    algorithms,
                    recent=recent,
                    popularity=replace(
                        algorithms.popularity, returning=(first, second, third, fourth)
                    ),
                )


_KINDS: tuple[Neighbours, ...] = (_popularities,)
_WITH_UNKNOWN: tuple[Neighbours, ...] = (_popularities, _unknowns, _popularities)


def _gains_of(row: int) -> Callable[[Algorithms], Iterator[Algorithms]]:
    def gains(algorithms: Algorithms) -> Iterator[Algorithms]:
        block = algorithms.blocks[row]
        for gain in GAINS:
            weighed = replace(block, weights=replace(block.weights, away=gain))
            blocks = (*algorithms.blocks[:row], weighed, *algorithms.blocks[row + 1 :])
            yield replace(algorithms, blocks=blocks)

    return gains


def _by_user(values: Numbers, users: Rows) -> Numbers:
    """Return the mean over each user's nights, by ascending user."""
    _, row, nights = np.unique(users, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(row, values) / nights)
