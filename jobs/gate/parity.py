"""The gate of the export: the shipped encoder against the fine-tuned one on validation users.

- Two questions: the validation part as a night would rank it, and a fifth of the known items by
  their texts alone, where the encoder does all the work.
- A loss over `parity_tolerance` in either is refused, with the table.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.gate.own_split import split_of
from jobs.warehouse.dataset import Dataset, read_training_data
from jobs.warehouse.delta import Warehouse
from models.data.arrays import Factors
from models.errors import InputError
from models.evaluation.parity import Agreement, Parity, agreement, largest_error, mean_cosine
from models.evaluation.question import Question, Scorer, ask
from models.evaluation.texts_alone import scorers_by_text, withheld_items, withheld_trial
from models.evaluation.variants import towers_variant
from models.network.towers import TwoTowers
from models.processors import usable_cores
from models.serving.bundle import FINE_TUNED_VECTORS, TEXTS, Bundle
from models.serving.item_factors import attribute_columns

BY_TEXT = "texts_alone"


@dataclass(frozen=True)
class Trials:
    """What is asked of a version, and the fine-tuned vectors [t, w] of its texts."""

    dataset: Dataset
    validation: Question
    by_text: Question
    texts: list[str]
    vectors: Factors
    seed: int

    @property
    def rows(self) -> dict[str, int]:
        """The row of each text."""
        return {text: row for row, text in enumerate(self.texts)}

    @property
    def profiles(self) -> Factors:
        """The fine-tuned vectors [u, w] of the profiles in the validation question."""
        rows = self.rows
        return self.vectors[[rows[profile] for profile in self.validation.profiles]]


def prepare(warehouse: Warehouse, trained: Bundle, towers: TwoTowers, seed: int) -> Trials:
    """Read the data of a trained version and ask both questions."""
    dataset = read_training_data(warehouse, trained.manifest)
    split = split_of(trained, dataset.interactions)
    withheld = withheld_items(towers.known.numpy(), seed)
    return Trials(
        dataset,
        ask(split.tuning, dataset.profiles),
        ask(withheld_trial(split.final, withheld), dataset.profiles),
        json.loads(trained.path(TEXTS).read_text("utf-8")),
        np.array(trained.array(FINE_TUNED_VECTORS)),
        seed,
    )


class Gate:
    """Judges text vectors under the towers of an exported version."""

    def __init__(self, trials: Trials, bundle: Bundle, towers: TwoTowers) -> None:
        self._trials = trials
        self._by_text = scorers_of_trials(trials, bundle, towers, trials.vectors)

    def by_text(self, vectors: Factors) -> Agreement | None:
        """Return the agreement by texts alone; None where nobody is asked."""
        scorers = self._by_text(self._trials.vectors), self._by_text(vectors)
        return self._agreement(self._trials.by_text, *scorers)

    def parity(self, bundle: Bundle, vectors: Factors) -> Parity:
        """Return the parity of a version's encoder, whose `vectors` [t, w] these are."""
        rows, catalogue = self._trials.rows, self._trials.dataset.catalogue

        def scorer(name: str, some: Factors) -> Scorer:
            def encode(texts: Sequence[str]) -> Factors:
                return some[[rows[text] for text in texts]]

            return towers_variant(name, bundle, catalogue, encode).asked_at(None)

        fine_tuned = scorer("fine_tuned", self._trials.vectors)
        shipped = scorer("shipped", vectors)
        found = {
            "validation": self._agreement(self._trials.validation, fine_tuned, shipped),
            BY_TEXT: self.by_text(vectors),
        }
        return Parity(
            {name: one for name, one in found.items() if one is not None},
            mean_cosine(self._trials.vectors, vectors),
            largest_error(self._trials.vectors, vectors),
        )

    def _agreement(
        self, question: Question, fine_tuned: Scorer, shipped: Scorer
    ) -> Agreement | None:
        if len(question.users) == 0:
            return None
        return agreement(question, fine_tuned, shipped, self._trials.seed)


def scorers_of_trials(
    trials: Trials, bundle: Bundle, towers: TwoTowers, vectors: Factors
) -> Callable[[Factors], Scorer]:
    """Return what makes scorers by texts alone, by the text map of `vectors` [t, w]."""
    known = towers.known.numpy()
    return scorers_by_text(
        bundle,
        (towers.own_ranking.numpy(), towers.own_history.numpy()),
        known,
        attribute_columns(bundle, trials.dataset.catalogue),
        vectors,
        trials.rows,
        withheld_items(known, trials.seed),
        usable_cores(),
    )


def refuse_loss(parity: Parity, tolerance: float) -> None:
    """Raise InputError with the table where compression loses more than `tolerance`."""
    if parity.relative_loss > tolerance:
        raise InputError(
            f"parity gate: compression loses {parity.relative_loss:.1%} of NDCG@10 on validation, "
            f"and setting `parity_tolerance` allows {tolerance:.1%}: keep more layers, heads or "
            f"width, or distil longer; nothing was registered\n{parity.table()}"
        )
