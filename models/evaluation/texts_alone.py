"""Ranking by texts alone: withheld items lose their own factors and have what their text says.

- A fifth of the known items is withheld, as many as the `cold_item` split withholds. The text map
  is solved on the others, so that it has never seen what it predicts.
- Training withholds evenly over popularity, so that its figure depends less on the draw; the
  export's gate draws at random, as the split does.
- At the gate both encoders go through the same map, that of the full one's vectors: the shipped
  vectors have to stand in for these.

Trade-off: while anything is chosen, a fifth of the known items teaches nothing. At the gate the own
factors of the other items still come from all interactions; both encoders share them, so that
their difference is not touched.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Mask
from models.data.interactions import History, Interactions
from models.data.splits import Trial
from models.evaluation.question import Scorer
from models.factors.text_map import solve_text_map
from models.serving.bundle import Bundle
from models.serving.history_encoder import HistoryEncoder, by_block

SHARE = 5


def withheld_items(known: Mask, seed: int) -> Mask:
    """Return the mask [n] of a fifth of the `known` items, drawn at random."""
    rows = np.flatnonzero(known)
    chosen = np.zeros(len(known), dtype=np.bool_)
    chosen[np.random.default_rng(seed).permutation(rows)[: len(rows) // SHARE]] = True
    return chosen


def withheld_by_popularity(known: Mask, positives: Interactions, seed: int) -> Mask:
    """Return the mask [n] of one of every five `known` items that are neighbours in popularity.

    Known are the items with `positives`.
    """
    counts = np.bincount(positives.item, minlength=len(known))
    ranked = np.argsort(-counts, kind="stable")[: int(known.sum())]
    groups = np.array_split(ranked, max(1, len(ranked) // SHARE))
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(known), dtype=np.bool_)
    chosen[np.array([generator.choice(group) for group in groups])] = True
    return chosen


def withheld_trial(trial: Trial, withheld: Mask) -> Trial:
    """Return the question which `withheld` items [n] users liked, knowing the others.

    It is asked of the training part of `trial`.
    """
    labelled, threshold = trial.labelled_train, trial.threshold
    inside = withheld[labelled.item]
    others, asked = labelled.take(~inside), labelled.take(inside)
    return Trial(
        train=labelled.positives(threshold),
        given=others.positives(threshold),
        truth=asked.positives(threshold),
        labelled_train=labelled,
        labelled_given=others,
        labelled=asked,
        candidates=np.flatnonzero(withheld),
        clock=None,
        threshold=threshold,
        repeats=trial.repeats,
    )


def scorers_by_text(
    bundle: Bundle,
    own: tuple[Factors, Factors],
    known: Mask,
    columns: sparse.csr_array,
    fine_tuned: Factors,
    rows: Mapping[str, int],
    withheld: Mask,
    threads: int,
) -> Callable[[Factors], Scorer]:
    """Return what makes a scorer of text vectors [t, w], without the own factors of `withheld`.

    `own` are ranking [n, d] and history factors [n, h]; the vectors of the items stand first in
    `fine_tuned` [t, w], those of profiles at `rows`.
    """
    targets = np.hstack(own)
    size, n_items = own[0].shape[1], len(known)
    kept = known & ~withheld
    text_map = solve_text_map(fine_tuned[:n_items], columns, targets, kept)
    from_attributes = columns @ text_map.attributes + text_map.bias

    def scorer(vectors: Factors) -> Scorer:
        predicted = vectors[:n_items] @ text_map.weights + from_attributes
        factors = np.where(kept[:, None], targets, predicted).astype(np.float32)
        history = by_block(factors[:, size:], bundle.manifest.blocks)
        users = HistoryEncoder(bundle, history, threads)
        ranking = factors[:, :size]

        def score(histories: list[History], profiles: list[str]) -> Factors:
            own_profiles = vectors[[rows[profile] for profile in profiles]]
            return users.encode(histories, own_profiles, None) @ ranking.T

        return score

    return scorer
