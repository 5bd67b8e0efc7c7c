"""One split of the evaluation: the baselines, the versions that may answer it, their standings."""

import logging
from typing import Any

from jobs.questions.als import implicit_als
from jobs.settings.model import Settings
from jobs.spark.session import open_session
from jobs.warehouse.dataset import Dataset
from models.baselines.choice import Factorise, baselines
from models.data.arrays import Factors
from models.data.interactions import Interactions
from models.data.splits import Split, make_split
from models.data.texts import item_texts
from models.evaluation.contender import Contender
from models.evaluation.question import Question, ask
from models.evaluation.standings import standings
from models.evaluation.variants import open_variant, stored_vectors
from models.serving.bundle import PRETRAINED_VECTORS, Bundle
from models.serving.text_vectors import TextEncoders

LOGGER = logging.getLogger(__name__)

SHIPPED = "shipped"
VARIANTS = ("pretrained", "fine_tuned", SHIPPED)


def standings_of(
    settings: Settings,
    name: str,
    dataset: Dataset,
    bundle: Bundle,
    versions: list[Bundle],
    encoders: TextEncoders,
) -> dict[str, Any]:
    """Return the standings of split `name`; without `versions` those of the baselines alone.

    The pretrained vectors that baselines use are those of `bundle`.
    """
    LOGGER.info("evaluating split %s, versions: %s", name, [one.version for one in versions])
    split = make_split(
        name, dataset.interactions, settings.positive_threshold, settings.repeat_policy
    )
    vectors = stored_vectors(bundle, PRETRAINED_VECTORS)(item_texts(dataset.catalogue))
    tuning = ask(split.tuning, dataset.profiles)
    found = standings(
        ask(split.final, dataset.profiles, report=True),
        baselines(split, tuning, implicit_factors(settings), vectors, settings.seed)
        | _versions(split, tuning, versions, dataset, encoders),
        SHIPPED,
        vectors,
        dataset.user_attributes,
        settings.bootstrap_resamples,
    )
    return {**found, "versions": [one.version for one in versions]}


def implicit_factors(settings: Settings) -> Factorise:
    """Return the function from training positives to ALS's item factors, fitted by Spark."""

    def factorise(train: Interactions) -> Factors:
        return implicit_als(open_session(settings, "evaluate"), train, settings.seed).items

    return factorise


def _versions(
    split: Split,
    tuning: Question,
    versions: list[Bundle],
    dataset: Dataset,
    encoders: TextEncoders,
) -> dict[str, Contender]:
    if not versions:
        LOGGER.warning("no version was trained for split %s: baselines only", split.name)
        return {}
    found = {}
    for name in VARIANTS:
        opened = [open_variant(one, name, dataset.catalogue, encoders) for one in versions]
        found[name] = Contender(
            tuple(one.asked_at(split.final.clock) for one in opened),
            probabilities=tuple(one.probability_after(tuning) for one in opened),
        )
    return found
