"""What validation users choose: how EASE is fitted, and how blocks weigh right after a visit.

- Both depend on the data: with many interactions a weaker penalty lets more be learned, and whoever
  has rated much is ranked better when films they thought little of teach too. Of new users, of whom
  a handful of likes is known, that isn't so.
- Whether histories fade comes first: where what people like has no order, the newest says no more
  than the rest. Then some fits are tried beside the default, and for the best of them the weights
  of blocks and popularity are learned.
- Where popularity counts too much for users of whom little is known, all is chosen once more with
  less of it.
- Users are parted at random: for each part, weights are learned and the choice is made on the
  others. It stands only where the gain over the default, so measured, has a 95 % interval above
  zero.

Trade-off: up to eight fits of the closed form, some seconds each, and no finer steps of the
penalty: on three data sets the figures differ by less between them than the intervals are wide.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.data.arrays import Numbers, Rows
from models.data.splits import Trial, make_split
from models.errors import InputError
from models.evaluation.bootstrap import bootstrap_interval
from models.evaluation.question import Question, ask
from models.factors.blocks import BELOW_IN_FIT
from models.factors.ease import EaseBlock, EaseOptions
from models.factors.start import Algorithms, with_ease
from models.nights.parts import ScoreParts
from models.nights.recipe import Recipe
from models.nights.visit_gains import likeliest
from models.nights.weights import LEAST_USERS, RESAMPLES, UNKNOWNS

PENALTIES = (200.0, 500.0, 1000.0)
PARTS, MOST_PAIRS = 5, 10_000_000
SURE = 0.999
"""What it takes to change how new users are weighed, of whom validation users are few."""
FLAT, FADING = 0, 1
FLAT_FLOOR = 10.0
"""A floor of history weights beside which the fading part is little."""

_log = logging.getLogger("nightrank.train")


@dataclass(frozen=True)
class FitChoice:
    """The algorithms with what was chosen.

    `gain` is that of the choice over the default, in users who were left out of it, as (low, mean,
    high); None where too few users were asked to tell.
    """

    algorithms: Algorithms
    gain: tuple[float, float, float] | None = None

    def metrics(self) -> dict[str, float]:
        """Return what was chosen and its gain by name, as a version keeps them."""
        ease = _ease(self.algorithms)
        chosen = (
            {
                f"{figure}_of_{block.name.replace(' ', '_')}": getattr(block.weights, figure)
                for block in self.algorithms.blocks
                for figure in ("gain", "floor")
            }
            | {"popularity_of_unknown": self.algorithms.popularity.unknown_visiting}
            | ({"ease_penalty": ease.penalty, "ease_below": ease.below} if ease else {})
        )
        if self.gain is None:
            return chosen
        low, mean, high = self.gain
        return {**chosen, "choice_gain_low": low, "choice_gain": mean, "choice_gain_high": high}


def choose_fit(
    recipe: Recipe, trial: Trial, profiles: Sequence[str], default: Algorithms
) -> FitChoice:
    """Choose on the validation question `trial`; `profiles` are the texts of all users."""
    question = ask(trial, profiles)
    question = question.of_some(MOST_PAIRS // question.truth.shape[1])
    if len(question.users) < LEAST_USERS:
        return FitChoice(default)
    fits = [default, *(one for one in _fits(default, trial) if one != default)]
    ndcg = np.stack([_ndcg_of(recipe, question, one) for one in fits])
    found = _choose(recipe, question, fits, ndcg[:, :, 0], UNKNOWNS[0])
    row, _ = best_of(ndcg[0, FADING])
    if row:  # it drowns what else there is to choose, so that all has to be chosen again
        other = _choose(recipe, question, fits, ndcg[:, :, row], UNKNOWNS[row])
        gain = bootstrap_interval(other.ndcg, found.ndcg, RESAMPLES, confidence=SURE)
        if gain[0] > 0:
            found = other
    chosen = FitChoice(found.algorithms, found.gain)
    low, _, high = found.gain
    _log.info("choice on validation: gain [%.4f, %.4f], %s", low, high, chosen.metrics())
    return chosen


@dataclass(frozen=True)
class _Found:
    """What was chosen, each user's NDCG@10 [u] by a choice on others, and its gain."""

    algorithms: Algorithms
    ndcg: Numbers
    gain: tuple[float, float, float]


def _choose(
    recipe: Recipe, question: Question, fits: Sequence[Algorithms], ndcg: Numbers, share: float
) -> _Found:
    """Choose by each user's `ndcg` [fits, 2, u], flat and fading; `share` is popularity's."""
    fades, _ = best_of(ndcg[0])  # flat stands first: that there is an order is for the data to show
    fits = [_weighed(one, fades, share) for one in fits]
    best = fits[int(ndcg[:, fades].mean(axis=1).argmax())]
    parts = recipe.parts(question, best)
    rows = np.vstack([ndcg[:, fades], _learned(parts, best)])
    row, gain = best_of(rows)
    everybody = np.ones(len(question.users), dtype=np.bool_)
    fit = fits[row] if row < len(fits) else likeliest(parts, best, everybody)
    return _Found(fit, _by_others(rows) if gain[0] > 0 else rows[0], gain)


def _ndcg_of(recipe: Recipe, question: Question, fit: Algorithms) -> Numbers:
    """Return each user's NDCG@10 [2, s, u] by one `fit`: flat and fading, by popularity's share."""
    fitted = recipe.scorer(question.trial, fit)
    found = []
    for fades in (FLAT, FADING):
        parts = recipe.parts_of(question, fitted, _weighed(fit, fades, 1.0))
        found.append([parts.ndcg(_weighed(fit, fades, share)) for share in UNKNOWNS])
    return np.array(found)


def _weighed(fit: Algorithms, fades: int, share: float) -> Algorithms:
    """Return `fit` FLAT or FADING, with a share of popularity's weight for the little known."""
    floors = {} if fades else {"floor": FLAT_FLOOR}
    blocks = (replace(one, weights=replace(one.weights, **floors)) for one in fit.blocks)
    unknown = share * fit.popularity.unknown_visiting
    return replace(
        fit,
        blocks=tuple(blocks),
        popularity=replace(fit.popularity, unknown_visiting=unknown),
    )


def _fits(default: Algorithms, trial: Trial) -> Iterator[Algorithms]:
    ease = _ease(default)
    if ease is None:
        return
    graded = (trial.labelled_train.value < trial.threshold).any()
    for below in (0.0, BELOW_IN_FIT) if graded else (0.0,):
        for penalty in PENALTIES:
            blocks = (with_ease(one, penalty=penalty, below=below) for one in default.blocks)
            yield replace(default, blocks=tuple(blocks))


def _learned(parts: ScoreParts, algorithms: Algorithms) -> Numbers:
    """Return each user's NDCG@10 [u] under weights that were learned from the other parts."""
    part = _part_of(len(parts.users))
    ndcg = np.zeros(len(part))
    for number in np.unique(part):
        away = part == number
        ndcg[away] = parts.ndcg(likeliest(parts, algorithms, ~away))[away]
    return ndcg


def best_of(ndcg: Numbers) -> tuple[int, tuple[float, float, float]]:
    """Return the row of `ndcg` [options, users] to choose, and what choosing gains.

    The first row is the default. It stands unless the gain of users, each with the best row for the
    other parts of the users, has an interval (low, mean, high) above zero.
    """
    gain = bootstrap_interval(_by_others(ndcg), ndcg[0], RESAMPLES)
    return (int(ndcg.mean(axis=1).argmax()) if gain[0] > 0 else 0), gain


def _by_others(ndcg: Numbers) -> Numbers:
    """Return each user's value [u] in the row of `ndcg` [options, u] that is best for others."""
    part = _part_of(ndcg.shape[1])
    unseen = np.zeros(len(part))
    for number in np.unique(part):
        away = part == number
        unseen[away] = ndcg[int(ndcg[:, ~away].mean(axis=1).argmax()), away]
    return unseen


def _part_of(users: int) -> Rows:
    return np.random.default_rng(0).permutation(users) % PARTS


def choose_on_past(recipe: Recipe, trial: Trial, profiles: Sequence[str]) -> Algorithms:
    """Choose on what was known before the `trial` alone: on the split `warm` of that past."""
    try:
        split = make_split("warm", trial.labelled_train, trial.threshold, trial.repeats)
    except InputError:  # nobody has enough positives yet
        return Algorithms()
    return choose_fit(recipe, split.tuning, profiles, Algorithms()).algorithms


def _ease(algorithms: Algorithms) -> EaseOptions | None:
    return next((one.options for one in algorithms.blocks if isinstance(one, EaseBlock)), None)
