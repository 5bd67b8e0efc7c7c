"""One split of the evaluation: the baselines, the versions that may answer it, their standings."""

import json
import logging
import os
from typing import Any

from jobs.als import implicit_als
from jobs.dataset_reader import Dataset
from jobs.settings import Settings
from jobs.spark import session
from models.bundle import PRETRAINED_VECTORS, TEXTS, Bundle
from models.comparison import ask
from models.contenders import Contender, baselines
from models.dataset import Factors, Interactions
from models.splits import Split, make_split
from models.standings import standings
from models.texts import item_texts
from models.variants import open_variant

LOGGER = logging.getLogger(__name__)

SHIPPED = "shipped"
VARIANTS = ("pretrained", "fine_tuned", SHIPPED)


def standings_of(
    settings: Settings, name: str, dataset: Dataset, bundle: Bundle, versions: list[Bundle]
) -> dict[str, Any]:
    """Return the standings of split `name`; without `versions` those of the baselines alone.

    The pretrained vectors that baselines use are those of `bundle`.
    """
    LOGGER.info("evaluating split %s, versions: %s", name, [one.version for one in versions])
    split = make_split(name, dataset.interactions, settings.positive_threshold)
    vectors = _pretrained_vectors(bundle, dataset)
    found = standings(
        ask(split.final, dataset.profiles),
        _baselines(settings, split, dataset, vectors) | _versions(split, versions, dataset),
        SHIPPED,
        vectors,
        dataset.user_attributes,
        settings.bootstrap_resamples,
    )
    return {**found, "versions": [one.version for one in versions]}


def _baselines(
    settings: Settings, split: Split, dataset: Dataset, vectors: Factors
) -> dict[str, Contender]:
    def factorise(train: Interactions) -> Factors:
        return implicit_als(session(settings, "evaluate"), train, settings.seed).items

    tuning = ask(split.tuning, dataset.profiles)
    return baselines(split, tuning, factorise, vectors, settings.seed)


def _versions(split: Split, versions: list[Bundle], dataset: Dataset) -> dict[str, Contender]:
    if not versions:
        LOGGER.warning("no version was trained for split %s: baselines only", split.name)
        return {}
    threads, tuning = os.cpu_count() or 1, ask(split.tuning, dataset.profiles)
    found = {}
    for name in VARIANTS:
        opened = [
            open_variant(one, name, dataset.catalogue, threads, split.final.clock)
            for one in versions
        ]
        found[name] = Contender(
            tuple(one.score for one in opened),
            probabilities=tuple(one.probability_after(tuning) for one in opened),
        )
    return found


def _pretrained_vectors(bundle: Bundle, dataset: Dataset) -> Factors:
    rows = {text: row for row, text in enumerate(json.loads(bundle.path(TEXTS).read_text("utf-8")))}
    vectors: Factors = bundle.array(PRETRAINED_VECTORS)
    return vectors[[rows[text] for text in item_texts(dataset.catalogue)]]
