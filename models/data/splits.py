"""The four ways to divide interactions into training, validation and test parts.

- A positive is an interaction at or above the threshold. Positives alone make the parts; the other
  interactions follow the positives that precede them, are the labelled negatives of the interest
  head, and are taken out of the rankings as positives are.
- `warm`: each user's positives in order of time, the first ceil(80 %) train, the rest test; of the
  training part the last ceil(10 %) validate. Users with fewer than 5 positives only train.
- `global_time`: one cut of the clock, the latest 10 % test, the 10 % before them validate.
- `cold_item`: a fifth of the items (seed 0) test, and of the next items a tenth of the rest
  validate; only these items are ranked.
- `cold_user`, `cold_user_0`: a tenth of the users (seed 1) test, and of the next users a tenth of
  the rest validate; their first 5 (0) positives are given when the question is asked.
- A `Trial` is one question: learn from `train`, know each user's `given`, rank `candidates`. A
  split has two: `tuning`, where everything is chosen, and `final`, which nothing looks at before.

Trade-off: a validation user of `cold_user` trains the final model whole, so that the final model
sees as much as the protocol allows; `final.train` is therefore more than fit and validation.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.data.arrays import Rows
from models.data.interactions import Interactions
from models.data.repeats import NO_REPEATS, Repeats
from models.errors import InputError

LEAST_POSITIVES = 5
GIVEN_POSITIVES = 5
COLD_ITEMS = (5, 0)  # one of how many, and the seed
COLD_USERS = (10, 1)

_FIT, _VALIDATION, _TEST, _GIVEN_TO_TUNE, _GIVEN_AT_LAST = range(5)

Labels = NDArray[np.int8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """One question to a model, asked on the validation or on the test part.

    `train`, `given` and `truth` are positives; `given` is what a user has when asked;
    `candidates` are the item rows that are ranked; `labelled_train`, `labelled_given` and
    `labelled` are the interactions of the same parts, positive (value at or above `threshold`) or
    not, for interest prediction, and what is in `labelled_given` is not ranked unless it may be
    repeated (`repeats`); `clock` is the time of asking in seconds,
    None where each user is asked after the last given interaction.
    """

    train: Interactions
    given: Interactions
    truth: Interactions
    labelled_train: Interactions
    labelled_given: Interactions
    labelled: Interactions
    candidates: Rows
    clock: float | None
    threshold: float
    repeats: Repeats = NO_REPEATS


@dataclass(frozen=True)
class Split:
    """The validation question and the test question."""

    name: str
    tuning: Trial
    final: Trial

    @property
    def fit(self) -> Interactions:
        """Positives to learn from while anything is still to be chosen."""
        return self.tuning.train

    @property
    def validation(self) -> Interactions:
        """Positives on which everything is chosen."""
        return self.tuning.truth

    @property
    def train(self) -> Interactions:
        """Positives to learn from once everything is chosen, in source order."""
        return self.final.train

    @property
    def test(self) -> Interactions:
        """Positives that the report is about."""
        return self.final.truth

    @property
    def given(self) -> Interactions:
        """Positives that the users have when the test question is asked."""
        return self.final.given

    @property
    def candidates(self) -> Rows:
        """Item rows that the test question ranks, ascending."""
        return self.final.candidates


def make_split(
    name: str,
    interactions: Interactions,
    positive_threshold: float,
    repeats: Repeats = NO_REPEATS,
) -> Split:
    """Divide `interactions` as the split `name` of SPLITS says; its questions follow `repeats`.

    Raises InputError where the name is unknown or the data leave the test part empty.
    """
    if name not in _LABELLERS:
        raise InputError(f"split {name!r}: expected one of {', '.join(SPLITS)}")
    positive = interactions.value >= positive_threshold
    labels = _LABELLERS[name](interactions, positive)
    if not np.any(positive & (labels == _TEST)):
        raise InputError(
            f"split {name}: no positive of {int(positive.sum())} is left to test on; ingest more "
            f"interactions, or lower `positive_threshold` ({positive_threshold:g})"
        )
    split = _assemble(name, interactions, positive_threshold, labels)
    return replace(
        split,
        tuning=replace(split.tuning, repeats=repeats),
        final=replace(split.final, repeats=repeats),
    )


def thinned(split: Split, share: float, seed: int) -> Split:
    """Return the split with about `share` of what is learned from, drawn by user, item and seed.

    What is asked stays; what is given goes along where it is what was learned from.
    """
    if share == 1.0:
        return split
    return replace(
        split,
        tuning=_thinned(split.tuning, share, seed),
        final=_thinned(split.final, share, seed),
    )


def _thinned(trial: Trial, share: float, seed: int) -> Trial:
    # a pair's draw is the same in every part that holds it
    draws, turns = (
        np.random.default_rng([seed, count]).random(count)
        for count in (trial.train.n_items, trial.train.n_users)
    )

    def part(interactions: Interactions) -> Interactions:
        return interactions.take((draws[interactions.item] + turns[interactions.user]) % 1 < share)

    train, labelled = part(trial.train), part(trial.labelled_train)
    same = trial.given is trial.train
    return replace(
        trial,
        train=train,
        labelled_train=labelled,
        given=train if same else trial.given,
        labelled_given=labelled if same else trial.labelled_given,
    )


def _assemble(name: str, interactions: Interactions, threshold: float, labels: Labels) -> Split:
    positive = interactions.value >= threshold

    def part(*wanted: int, only: Mask = positive) -> Interactions:
        return interactions.take(np.isin(labels, wanted) & only)

    learned = (_FIT, _VALIDATION, _GIVEN_TO_TUNE)
    fit, train = part(_FIT), part(*learned)
    validation, test = part(_VALIDATION), part(_TEST)
    apart, dated = name.startswith("cold_user"), name == "global_time"
    every = np.arange(interactions.n_items)
    ranked = _cold_rows(interactions.n_items, *COLD_ITEMS) if name == "cold_item" else None
    either = np.ones_like(positive)
    tuning = Trial(
        train=fit,
        given=part(_GIVEN_TO_TUNE) if apart else fit,
        truth=validation,
        labelled_train=part(_FIT, only=either),
        labelled_given=part(_GIVEN_TO_TUNE if apart else _FIT, only=either),
        labelled=part(_VALIDATION, only=either),
        candidates=every if ranked is None else np.sort(ranked[1]),
        clock=float(validation.time.min()) if dated and len(validation) else None,
        threshold=threshold,
    )
    final = Trial(
        train=train,
        given=part(_GIVEN_AT_LAST) if apart else train,
        truth=test,
        labelled_train=part(*learned, only=either),
        labelled_given=part(*((_GIVEN_AT_LAST,) if apart else learned), only=either),
        labelled=part(_TEST, only=either),
        candidates=every if ranked is None else np.sort(ranked[0]),
        clock=float(test.time.min()) if dated else None,
        threshold=threshold,
    )
    return Split(name, tuning, final)


def _warm(interactions: Interactions, positive: Mask) -> Labels:
    ordinal = _ordinals(interactions, positive, interactions.user)
    counts = np.bincount(interactions.user[positive], minlength=interactions.n_users)
    trained = -(-8 * counts // 10)
    fitted = 9 * trained // 10
    rare = counts < LEAST_POSITIVES
    trained[rare], fitted[rare] = counts[rare] + 1, counts[rare] + 1
    return _by_cuts(ordinal, fitted[interactions.user], trained[interactions.user])


def _global_time(interactions: Interactions, positive: Mask) -> Labels:
    ordinal = _ordinals(interactions, positive, np.zeros(len(interactions), dtype=np.int64))
    total = int(positive.sum())
    tenth = total // 10
    return _by_cuts(ordinal, np.int64(total - 2 * tenth), np.int64(total - tenth))


def _cold_item(interactions: Interactions, _positive: Mask) -> Labels:
    return _by_rows(interactions.item, *_cold_rows(interactions.n_items, *COLD_ITEMS))


def _cold_user(given: int) -> Callable[[Interactions, Mask], Labels]:
    def label(interactions: Interactions, positive: Mask) -> Labels:
        labels = _by_rows(interactions.user, *_cold_rows(interactions.n_users, *COLD_USERS))
        early = _ordinals(interactions, positive, interactions.user) < given
        labels[early & (labels == _VALIDATION)] = _GIVEN_TO_TUNE
        labels[early & (labels == _TEST)] = _GIVEN_AT_LAST
        return labels

    return label


_LABELLERS: dict[str, Callable[[Interactions, Mask], Labels]] = {
    "warm": _warm,
    "global_time": _global_time,
    "cold_item": _cold_item,
    "cold_user": _cold_user(GIVEN_POSITIVES),
    "cold_user_0": _cold_user(0),
}
SPLITS = tuple(_LABELLERS)


def _cold_rows(count: int, share: int, seed: int) -> tuple[Rows, Rows]:
    """Return the rows withheld for the test, one of `share`, and a tenth of the rest to tune."""
    order = np.random.default_rng(seed).permutation(count)
    withheld = count // share
    to_tune = (count - withheld) // 10
    return order[:withheld], order[withheld : withheld + to_tune]


def _by_rows(rows: Rows, test: Rows, validation: Rows) -> Labels:
    labels = np.full(len(rows), _FIT, dtype=np.int8)
    labels[np.isin(rows, validation)] = _VALIDATION
    labels[np.isin(rows, test)] = _TEST
    return labels


def _by_cuts(ordinal: Rows, fitted: Rows | np.int64, trained: Rows | np.int64) -> Labels:
    """Label ordinals below `fitted`, below `trained`, and the others."""
    return np.where(ordinal < fitted, _FIT, np.where(ordinal < trained, _VALIDATION, _TEST)).astype(
        np.int8
    )


def _ordinals(interactions: Interactions, positive: Mask, group: Rows) -> Rows:
    """Number the positives of each group from 0, by time, ties in source order.

    Another interaction takes the number of the positive before it, so that it falls on the same
    side of every cut of its group's time; before the first positive that is 0.
    """
    order = np.lexsort((interactions.time, group))
    flags = positive[order].astype(np.int64)
    running = np.cumsum(flags)
    first = np.searchsorted(group[order], group[order], side="left")
    ordinal = np.empty(len(order), dtype=np.int64)
    ordinal[order] = np.maximum(running - (running[first] - flags[first]) - 1, 0)
    return ordinal
