"""The split `nights`: what an operator would have got on six nights that have passed.

- Each night is a cut of the clock. Everything before it is learned from, and whoever comes back is
  asked with the days that have really passed; the next 6 % of the positives are true.
- A version's recipe is fitted anew at each cut, to what was known then, with three kinds of text
  vectors: none, those of the untouched language model, and the shipped ones.
- The night's weights are chosen before each cut, of more than MOST_WEIGHED positives only before
  the first of them. What takes many fits is chosen once, before the first cut: how EASE is fitted
  and blocks weigh right after a visit, and the baselines' settings.
- Of very many users a sample is asked, of the size of any report's, shared among the nights.

Trade-off: the language model is that of the version. It was tuned on later interactions than those
of the first nights; the report says so.
"""

import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from jobs.questions.split import SHIPPED, implicit_factors
from jobs.settings.model import Settings
from jobs.warehouse.dataset import Dataset
from models.baselines.choice import choose_collaborative, collaborative
from models.data.nights import night
from models.evaluation.contender import Contender
from models.evaluation.question import REPORT_USERS, ask
from models.evaluation.variants import stored_vectors
from models.nights.fit_choice import choose_on_past
from models.nights.recipe import Recipe, recipe_of_version
from models.nights.standings import AskedNight, night_standings
from models.serving.bundle import PRETRAINED_VECTORS, Bundle
from models.serving.item_factors import attribute_columns
from models.serving.text_vectors import Encode

LOGGER = logging.getLogger(__name__)

NIGHTS = "nights"
CUTS, WIDTH = (0.60, 0.66, 0.72, 0.78, 0.84, 0.90), 0.06
MOST_WEIGHED = 500_000
NO_TEXT, UNTOUCHED = "no_text", "untouched_text"


def standings_of_nights(
    settings: Settings, dataset: Dataset, bundle: Bundle, encode: Encode
) -> dict[str, Any] | None:
    """Return the standings of the six nights; None where nobody came back on any of them.

    `encode` gives the vectors of texts by the shipped encoder.
    """
    recipes = _recipes(dataset, bundle, encode)
    asked = _asked(settings, dataset, recipes)
    first = next(asked, None)
    if first is None:
        return None
    found = night_standings(
        chain([first], asked), SHIPPED, recipes[UNTOUCHED].items, settings.bootstrap_resamples
    )
    return {**found, "versions": [bundle.version], "tuned_on": bundle.manifest.split}


def _recipes(dataset: Dataset, bundle: Bundle, shipped: Encode) -> dict[str, Recipe]:
    columns = attribute_columns(bundle, dataset.catalogue)
    untouched = stored_vectors(bundle, PRETRAINED_VECTORS)
    width = bundle.manifest.encoder.text_dim
    return {
        name: recipe_of_version(
            bundle.manifest, dataset.catalogue, dataset.profiles, columns, encode
        )
        for name, encode in (
            (NO_TEXT, lambda some: np.zeros((len(some), width), dtype=np.float32)),
            (UNTOUCHED, untouched),
            (SHIPPED, shipped),
        )
    }


def _asked(
    settings: Settings, dataset: Dataset, recipes: dict[str, Recipe]
) -> Iterator[AskedNight]:
    """Yield each night on which somebody came back, with the models fitted to its past."""
    interactions, threshold = dataset.interactions, settings.positive_threshold
    repeats = settings.repeat_policy
    if not len(interactions.positives(threshold)):
        return
    earlier = night(interactions, threshold, CUTS[0] - WIDTH, CUTS[0], repeats)
    chosen = choose_collaborative(earlier.train, ask(earlier, dataset.profiles))
    recipe, fit, weighed = recipes[SHIPPED], None, None
    for cut in CUTS:
        trial = night(interactions, threshold, cut, cut + WIDTH, repeats)
        question = ask(trial, dataset.profiles, report=True).of_some(REPORT_USERS // len(CUTS))
        if len(question.users) == 0 or len(trial.train) == 0:
            continue
        LOGGER.info("nights: %d users came back after %.0f %%", question.drawn_from, 100 * cut)
        models = collaborative(trial, chosen, implicit_factors(settings))
        fit = fit or choose_on_past(recipe, trial, dataset.profiles)
        if weighed is None or len(trial.train) <= MOST_WEIGHED:
            weighed = recipe.weights(trial.labelled_train, threshold, fit, repeats).algorithms
        ours = {name: Contender((one.scorer(trial, weighed),)) for name, one in recipes.items()}
        yield question, models | ours
