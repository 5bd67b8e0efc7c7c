"""What an interaction below the threshold counts in EASE: chosen on a validation part.

- Whoever has rated much is ranked better when films they thought little of teach too; of new
  users, of whom a handful of likes is known, this is not so. Validation users tell which it is.
- The default stands unless the 95 % interval of the gain in NDCG@10, over users, is above zero.

Trade-off: one other grade is tried, since each is a fit of all blocks.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.data.splits import Trial, make_split
from models.errors import InputError
from models.evaluation.bootstrap import bootstrap_interval
from models.evaluation.question import ask, judge
from models.factors.blocks import BELOW_IN_FIT, BlockAlgorithm
from models.factors.ease import EaseBlock
from models.factors.start import Algorithms
from models.nights.recipe import Recipe
from models.nights.weights import LEAST_USERS, RESAMPLES

_log = logging.getLogger("nightrank.train")


@dataclass(frozen=True)
class GradeChoice:
    """The algorithms with the chosen grade, and the `gain` of the other one: low, mean, high.

    Without a gain nothing was tried: all values are positives, or too few users were asked.
    """

    algorithms: Algorithms
    gain: tuple[float, float, float] | None = None

    def metrics(self) -> dict[str, float]:
        """Return the figures by name, as a version keeps them."""
        if self.gain is None:
            return {}
        low, mean, high = self.gain
        return {"grade_gain_low": low, "grade_gain": mean, "grade_gain_high": high}


def choose_grade(
    recipe: Recipe, trial: Trial, profiles: Sequence[str], default: Algorithms
) -> GradeChoice:
    """Choose on the validation question `trial`; `profiles` are the texts of all users."""
    question = ask(trial, profiles)
    graded = trial.labelled_train.value < trial.threshold
    if not graded.any() or len(question.users) < LEAST_USERS:
        return GradeChoice(default)
    other = replace(default, blocks=tuple(map(_graded, default.blocks)))
    before, after = (judge(question, recipe.scorer(trial, one)).ndcg() for one in (default, other))
    gain = bootstrap_interval(after, before, RESAMPLES)
    _log.info("grade of values below the threshold in EASE: gain [%.4f, %.4f]", gain[0], gain[2])
    return GradeChoice(other if gain[0] > 0 else default, gain)


def choose_on_past(recipe: Recipe, trial: Trial, profiles: Sequence[str]) -> Algorithms:
    """Choose the grade and the night's weights on what was known before the `trial` alone.

    The grade is chosen on the validation part of the split `warm` of that past.
    """
    past, threshold = trial.labelled_train, trial.threshold
    try:
        tuning = make_split("warm", past, threshold).tuning
    except InputError:  # nobody has enough positives yet
        chosen = Algorithms()
    else:
        chosen = choose_grade(recipe, tuning, profiles, Algorithms()).algorithms
    return recipe.weights(past, threshold, chosen).algorithms


def _graded(block: BlockAlgorithm) -> BlockAlgorithm:
    if not isinstance(block, EaseBlock):
        return block
    return replace(block, options=replace(block.options, below=BELOW_IN_FIT))
