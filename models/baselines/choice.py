"""All baselines of a split, each chosen on the tuning question and fitted again for the final one.

- Popularity of all time and of the last days, EASE with flat and with faded histories, the closed
  form, ALS.
- On `cold_item`, where collaborative filtering has nothing: noise, and ridge regression from
  text vectors to ALS's item factors.
- ALS comes from outside (`factorise`), so that these models need no Spark.

Trade-off: baselines with a choice to make are fitted twice as often as they need be when nobody
doubts their defaults.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.baselines.ease import (
    PENALTIES,
    TRANSITION_SHARES,
    ClosedForm,
    Ease,
    EaseRows,
    transitions,
)
from models.baselines.factorisation import RIDGE_PENALTIES, FoldedIn, text_ridge
from models.baselines.popularity import popularity, random_order, recent_popularity
from models.data.arrays import Factors
from models.data.interactions import Interactions
from models.data.splits import Split, Trial
from models.evaluation.contender import Contender
from models.evaluation.question import Question, Scorer, choose, mean_ndcg, of_likes

RECENT_DAYS = (3, 7, 30)

Factorise = Callable[[Interactions], Factors]


@dataclass(frozen=True)
class Chosen:
    """What the collaborative baselines are fitted with."""

    penalty: float
    faded_penalty: float
    transition_share: float


def baselines(
    split: Split,
    tuning: Question,
    factorise: Factorise | None,
    text_vectors: Factors | None,
    seed: int,
) -> dict[str, Contender]:
    """Return the split's baselines by name.

    Without `factorise` (training positives to item factors) ALS is left out; without
    `text_vectors` [n, w] or it, the ridge regression.
    """
    if split.name != "cold_item":
        chosen = choose_collaborative(split.fit, tuning)
        return collaborative(split.final, chosen, factorise)
    found = {"random": Contender((random_order(split.train.n_items, seed),))}
    if factorise is not None and text_vectors is not None:
        found["ridge"] = _ridge(split, tuning, factorise, text_vectors)
    return found


def choose_collaborative(fit: Interactions, tuning: Question) -> Chosen:
    """Choose on the `tuning` question, of models that learned from the positives `fit`."""
    threshold = tuning.trial.threshold
    rows = EaseRows(fit)
    # one matrix at a time: each has the size of the known items squared
    found = [
        [mean_ndcg(tuning, of_likes(score, threshold)) for score in (ease.score, ease.score_faded)]
        for ease in (Ease(rows, penalty) for penalty in PENALTIES)
    ]
    flat, faded = (PENALTIES[int(np.argmax(figures))] for figures in zip(*found, strict=True))
    ease, followed = Ease(rows, flat), transitions(fit)
    share = choose(
        tuning,
        (
            (share, of_likes(ClosedForm(ease, followed, share).score, threshold))
            for share in TRANSITION_SHARES
        ),
    )
    return Chosen(flat, faded, share)


def collaborative(
    trial: Trial, chosen: Chosen, factorise: Factorise | None
) -> dict[str, Contender]:
    """Return the baselines that rank by what users and others liked, for the question `trial`."""
    train = trial.train

    def likes(score: Scorer) -> tuple[Scorer]:
        return (of_likes(score, trial.threshold),)

    rows = EaseRows(train)
    ease = Ease(rows, chosen.penalty)
    same = chosen.faded_penalty == chosen.penalty
    fading = ease if same else Ease(rows, chosen.faded_penalty)
    closed_form = ClosedForm(ease, transitions(train), chosen.transition_share)
    of_both = {"penalty": chosen.penalty, "transition_share": chosen.transition_share}
    found = {"popularity": Contender((popularity(train),))}
    for days in RECENT_DAYS:
        found[f"popularity_{days}d"] = Contender((recent_popularity(train, trial.clock, days),))
    found |= {
        "ease": Contender(likes(ease.score), {"penalty": chosen.penalty}),
        "ease_faded": Contender(likes(fading.score_faded), {"penalty": chosen.faded_penalty}),
        "closed_form": Contender(likes(closed_form.score), of_both),
    }
    if factorise is not None:
        found["als"] = Contender(likes(FoldedIn(factorise(train)).score))
    return found


def _ridge(
    split: Split, tuning: Question, factorise: Factorise, text_vectors: Factors
) -> Contender:
    to_tune, items = factorise(split.fit), factorise(split.train)

    def likes(folded: FoldedIn) -> Scorer:
        return of_likes(folded.score, split.final.threshold)

    penalty = choose(
        tuning,
        (
            (each, likes(FoldedIn(to_tune, text_ridge(text_vectors, to_tune, split.fit, each))))
            for each in RIDGE_PENALTIES
        ),
    )
    predicted = text_ridge(text_vectors, items, split.train, penalty)
    return Contender((likes(FoldedIn(items, predicted)),), {"penalty": penalty})
