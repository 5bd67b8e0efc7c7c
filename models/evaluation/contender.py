"""A model that takes part in the comparison: ours, an earlier version or a baseline."""

from collections.abc import Callable
from dataclasses import dataclass, field

from models.data.arrays import Numbers, Scores
from models.evaluation.question import Question, Scorer

Probability = Callable[[Question, Scores], Numbers]


@dataclass(frozen=True)
class Contender:
    """A model to be judged, trained once or with several seeds.

    `chosen` on validation; `probabilities`, as many as `scores`, where the model predicts
    interest: the question and the scores of its labelled pairs [m] in, probabilities [m] out.
    """

    scores: tuple[Scorer, ...]
    chosen: dict[str, float] = field(default_factory=dict)
    probabilities: tuple[Probability, ...] = ()
