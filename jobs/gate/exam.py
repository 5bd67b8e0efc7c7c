"""One exam for two versions: the same tables, the same users, the same withheld likes.

- What is asked is the test part of the split that both were trained for, as it is in today's
  tables. Neither has learned from it: a user's likes only become more, so what an earlier training
  part held is held by today's too.
- It is asked twice: everybody right after their last visit, and those who came back on a later day
  as a night would, with the days that had passed.
- Each user's answers are compared, and the mean difference has a bootstrap interval, of 99.9 %:
  asked two questions every week, equal retrains would otherwise be refused several times a year.

Trade-off: the clock of tonight's run was tried for the second question, and refused an equal
retrain in two weeks of three (docs/experiments.md): what is popular now is held against what was
liked weeks ago, and the newer model knows more of now.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jobs.gate.own_split import split_of
from jobs.warehouse.dataset import Dataset
from models.data.splits import Split
from models.errors import InputError
from models.evaluation.bootstrap import bootstrap_interval
from models.evaluation.question import ask, judge
from models.evaluation.returning import question_of_returning
from models.evaluation.variants import Variant, open_variant
from models.nights.weights import LEAST_USERS
from models.serving.bundle import Bundle
from models.serving.text_vectors import TextEncoders

CONFIDENCE = 0.999
LAST_VISIT, NIGHT = "last visit", "night"


@dataclass(frozen=True)
class Compared:
    """One question to both versions: mean NDCG@10 of the `users` asked, and the difference.

    `gain` is the candidate's NDCG less the champion's as (low, mean, high).
    """

    asked: str
    users: int
    champion: float
    candidate: float
    gain: tuple[float, float, float]

    def is_loss(self, tolerance: float) -> bool:
        """Whether the candidate is worse, beyond its interval and a relative `tolerance`."""
        return self.gain[2] < 0 and self.candidate < self.champion * (1.0 - tolerance)


def examine(
    dataset: Dataset,
    candidate: Bundle,
    champion: Bundle,
    resamples: int,
    encoders: TextEncoders,
) -> list[Compared]:
    """Ask both versions both questions; none where nobody has anything withheld.

    Raises InputError where they were trained for different splits.
    """
    ours, theirs = candidate.manifest.split, champion.manifest.split
    if ours != theirs:
        raise InputError(
            f"version {candidate.version} was trained for split {ours}, the champion "
            f"{champion.version} for {theirs}: no likes are withheld from both; train for {theirs}"
        )
    try:
        split = split_of(candidate, dataset.interactions)
    except InputError:  # too few likes to withhold any
        return []
    versions = [
        open_variant(one, "shipped", dataset.catalogue, encoders) for one in (candidate, champion)
    ]
    return list(_compared(split, dataset, versions, resamples))


def _compared(
    split: Split, dataset: Dataset, versions: Sequence[Variant], resamples: int
) -> Iterator[Compared]:
    question = ask(split.final, dataset.profiles, report=True)
    asked_later, later = question_of_returning(question)
    for asked, to_ask, clock in (
        (LAST_VISIT, question, split.final.clock),
        (NIGHT, asked_later, later),
    ):
        if len(to_ask.users) < LEAST_USERS:
            continue
        ours, theirs = (judge(to_ask, one.asked_at(clock)).ndcg() for one in versions)
        gain = bootstrap_interval(ours, theirs, resamples, confidence=CONFIDENCE)
        means = float(theirs.mean()), float(ours.mean())
        yield Compared(asked, len(to_ask.users), *means, gain)
