"""The whole closed form, fitted to what is known at some time: how a past night is judged.

- The recipe is what a version serves: factors of blocks, profiles and popularity, and a text map
  for items that nobody has liked yet. Text vectors stay those of one encoder; all else is fitted
  anew.
- The night's weights are chosen on earlier nights alone.

Trade-off: the language model isn't tuned again for each night, which would take minutes each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy import sparse

from models.data.arrays import Factors, Rows
from models.data.interactions import Catalogue, Interactions
from models.data.matrices import idle_days, pad_histories
from models.data.repeats import NO_REPEATS, Repeats
from models.data.splits import Trial
from models.data.texts import item_texts
from models.evaluation.question import Question
from models.factors.popularity import POPULARITY_SIZE
from models.factors.start import Algorithms, Start, collaborative_start
from models.factors.text_map import TextMap, content_features
from models.network.towers import TwoTowers
from models.nights.parts import ScoreParts, unit_scores
from models.nights.past_nights import numbered
from models.nights.users import TowerScorer
from models.nights.weights import NightChoice, choose_night_weights
from models.serving.manifest import Manifest
from models.serving.text_vectors import Encode


@dataclass(frozen=True)
class Recipe:
    """What a fit needs beside interactions.

    `items` [n, w] and `profiles` [u, w] are the vectors of the items' texts and of the users'
    profiles, `profile_texts` [u] those profiles, `columns` [n, c] the items' attributes, `factors`
    the dimensions of all blocks together, `length` the newest interactions of a user that count.
    """

    items: Factors
    profiles: Factors
    profile_texts: Sequence[str]
    columns: sparse.csr_array
    factors: int
    length: int

    def weights(
        self,
        labelled: Interactions,
        threshold: float,
        default: Algorithms,
        repeats: Repeats = NO_REPEATS,
    ) -> NightChoice:
        """Choose the night's weights on the last nights of the `labelled` interactions."""
        return choose_night_weights(
            labelled,
            threshold,
            self._content,
            self.profiles,
            self.factors,
            self.length,
            default,
            repeats,
        )

    def fitted(
        self, labelled: Interactions, threshold: float, algorithms: Algorithms
    ) -> tuple[TwoTowers, TextMap]:
        """Fit to `labelled` interactions, positive from `threshold` on or not."""
        towers = TwoTowers(self.items.shape[1], self._start(labelled, threshold, algorithms))
        return towers, towers.fit_text_maps(self.items, self.columns, towers.known)

    @torch.no_grad()
    def scorer(self, trial: Trial, algorithms: Algorithms) -> TowerScorer:
        """Fit to the trial's training part; the scorer asks at the trial's clock."""
        towers, solved = self.fitted(trial.labelled_train, trial.threshold, algorithms)
        sums = torch.from_numpy((self.columns @ solved.attributes).astype(np.float32))
        size = towers.own_ranking.shape[1]
        ranking, history = towers.item_factors(
            torch.from_numpy(self.items),
            sums[:, :size],
            sums[:, size:],
            without=torch.zeros(len(sums), dtype=torch.bool),
        )
        return TowerScorer(
            towers=towers,
            ranking=ranking,
            history=history,
            vectors=torch.from_numpy(self.profiles),
            rows={profile: row for row, profile in enumerate(self.profile_texts)},
            threshold=trial.threshold,
            length=self.length,
            clock=trial.clock,
        )

    def parts(self, question: Question, algorithms: Algorithms) -> ScoreParts:
        """Fit to the training part of the question's trial; the scores of its users in parts."""
        return self.parts_of(question, self.scorer(question.trial, algorithms), algorithms)

    def parts_of(
        self, question: Question, fitted: TowerScorer, algorithms: Algorithms
    ) -> ScoreParts:
        """Return what `parts` does, of what is `fitted` by the same options.

        Histories are weighed as `algorithms` say from now on.
        """
        trial, users = question.trial, question.users
        fitted.towers.users.weigh([block.weights for block in algorithms.blocks])
        padded = pad_histories(
            question.histories, trial.threshold, self.length, len(fitted.ranking)
        )
        blocks, profile = unit_scores(
            fitted.towers.users,
            fitted.ranking.numpy(),
            fitted.history.numpy(),
            padded,
            self.profiles[users],
        )
        ranked = np.zeros(len(fitted.ranking), dtype=np.bool_)
        ranked[trial.candidates] = True
        truth = question.truth.toarray() > 0
        return ScoreParts(
            users=users,
            blocks=blocks,
            profile=profile,
            popularity={algorithms.recent: fitted.ranking[:, -POPULARITY_SIZE:]},
            known=torch.from_numpy(padded[2].sum(axis=1)),
            idle=torch.tensor([idle_days(one, trial.clock) for one in question.histories]),
            allowed=ranked & (question.seen.toarray() == 0),
            truth=truth,
            relevant=truth.sum(axis=1),
        )

    @cached_property
    def _content(self) -> sparse.csr_array:
        """The items' text and attribute features [n, w + c]."""
        return content_features(self.items, self.columns)

    def _start(self, labelled: Interactions, threshold: float, algorithms: Algorithms) -> Start:
        """Fit all blocks to the items that anybody had liked, and leave the others zeros."""
        known = np.unique(labelled.positives(threshold).item)
        start = collaborative_start(
            numbered(labelled, known),
            threshold,
            sparse.csr_array(self._content[known]),
            self.profiles,
            self.factors,
            algorithms,
        )
        liked = np.zeros(len(self.items), dtype=np.bool_)
        liked[known] = True
        return replace(
            start,
            ranking=_at(start.ranking, known, len(liked)),
            history=_at(start.history, known, len(liked)),
            known=liked,
        )


def recipe_of_version(
    manifest: Manifest,
    catalogue: Catalogue,
    profiles: Sequence[str],
    columns: sparse.csr_array,
    encode: Encode,
) -> Recipe:
    """Return the recipe of a version under the vectors that `encode` gives to texts.

    `profiles` are the texts of all users, `columns` [n, c] the catalogue's attributes.
    """
    distinct, rows = np.unique(np.array(profiles, dtype=object), return_inverse=True)
    return Recipe(
        items=encode(item_texts(catalogue)),
        profiles=encode(distinct.tolist())[rows],
        profile_texts=profiles,
        columns=columns,
        factors=manifest.settings.factors,
        length=manifest.history_length,
    )


def _at(factors: Factors, rows: Rows, n_items: int) -> Factors:
    """Return `factors` [m, d] at `rows` [m] of an array [n, d] of zeros."""
    found = np.zeros((n_items, factors.shape[1]), dtype=factors.dtype)
    found[rows] = factors
    return found
