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

from models.baselines.ease import PENALTIES, TRANSITION_SHARES, ClosedForm, Ease, transitions
from models.baselines.factorisation import RIDGE_PENALTIES, FoldedIn, text_ridge
from models.baselines.popularity import popularity, random_order, recent_popularity
from models.data.arrays import Factors
from models.data.interactions import Interactions
from models.data.splits import Split
from models.evaluation.contender import Contender
from models.evaluation.question import Question, choose

RECENT_DAYS = (3, 7, 30)

Factorise = Callable[[Interactions], Factors]


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
        return _collaborative(split, tuning, factorise)
    found = {"random": Contender((random_order(split.train.n_items, seed),))}
    if factorise is not None and text_vectors is not None:
        found["ridge"] = _ridge(split, tuning, factorise, text_vectors)
    return found


def _collaborative(
    split: Split, tuning: Question, factorise: Factorise | None
) -> dict[str, Contender]:
    to_tune = {penalty: Ease(split.fit, penalty) for penalty in PENALTIES}
    flat = choose(tuning, ((penalty, ease.score) for penalty, ease in to_tune.items()))
    faded = choose(tuning, ((penalty, ease.score_faded) for penalty, ease in to_tune.items()))
    followed = transitions(split.fit)
    share = choose(
        tuning,
        ((share, ClosedForm(to_tune[flat], followed, share).score) for share in TRANSITION_SHARES),
    )
    ease = Ease(split.train, flat)
    fading = ease if faded == flat else Ease(split.train, faded)
    closed_form = ClosedForm(ease, transitions(split.train), share)
    found = {
        "popularity": Contender((popularity(split.train),)),
        **{
            f"popularity_{days}d": Contender(
                (recent_popularity(split.train, split.final.clock, days),)
            )
            for days in RECENT_DAYS
        },
        "ease": Contender((ease.score,), {"penalty": flat}),
        "ease_faded": Contender((fading.score_faded,), {"penalty": faded}),
        "closed_form": Contender(
            (closed_form.score,), {"penalty": flat, "transition_share": share}
        ),
    }
    if factorise is not None:
        found["als"] = Contender((FoldedIn(factorise(split.train)).score,))
    return found


def _ridge(
    split: Split, tuning: Question, factorise: Factorise, text_vectors: Factors
) -> Contender:
    to_tune, items = factorise(split.fit), factorise(split.train)
    penalty = choose(
        tuning,
        (
            (each, FoldedIn(to_tune, text_ridge(text_vectors, to_tune, split.fit, each)).score)
            for each in RIDGE_PENALTIES
        ),
    )
    predicted = text_ridge(text_vectors, items, split.train, penalty)
    return Contender((FoldedIn(items, predicted).score,), {"penalty": penalty})
