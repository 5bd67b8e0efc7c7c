"""Active learning: the unlabelled pairs of user and item whose labels would teach the most.

- The value of a pair is the entropy of its predicted probability of liking (uncertainty sampling:
  Lewis and Gale, SIGIR 1994), minus a penalty for similarity between its item's text and the
  nearest item already chosen (Brinker, "Incorporating diversity in active learning with support
  vector machines", ICML 2003).
- Pairs are chosen greedily. A user or an item gets at most EVEN_SHARES times an even share of them.

Trade-off: entropy measures how unsure the model is, not whether that user can judge the item. Only
each user's most uncertain pairs are considered, so that memory grows with the number of users and
not of all pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from models.data.arrays import Factors, Mask, Numbers, Rows
from models.data.interactions import Interactions
from models.data.matrices import user_item_matrix
from models.evaluation.interest import liking
from models.evaluation.variants import Variant

PAIRS_OF_USER = 50
DIVERSITY = 0.5  # weight of likeness against uncertainty
EVEN_SHARES = 3  # how often its even share of the pairs a user or an item is asked for at most


@dataclass(frozen=True)
class Pairs:
    """Parallel arrays [m]: user rows, item rows, probabilities of liking."""

    user: Rows
    item: Rows
    probability: Numbers

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: Rows) -> "Pairs":
        """Return the pairs at `rows`, in that order."""
        return Pairs(self.user[rows], self.item[rows], self.probability[rows])

    @property
    def uncertainty(self) -> Numbers:
        """The entropies [m] of the probabilities in bits: 1 at one half, 0 where all is certain."""
        chance = self.probability
        return np.asarray((special.entr(chance) + special.entr(1.0 - chance)) / np.log(2.0))


def unlabelled_pairs(
    variant: Variant, seen: Interactions, profiles: Sequence[str], available: Mask
) -> Pairs:
    """Return each user's most uncertain pairs with `available` items [n] that are not in `seen`.

    `profiles` [u] are the texts of all users; their probabilities are the variant's.
    """
    item_levels, coefficients = variant.interest()
    labelled = user_item_matrix(seen)
    blocks = liking(
        np.arange(seen.n_users),
        seen,
        profiles,
        variant.bundle.positive_threshold,
        variant.asked_at(None),
        item_levels,
        coefficients,
        available,
    )
    parts = []
    for users, _, chances in blocks:
        open_ = available & (labelled[users].toarray() == 0)
        parts.append(uncertain_pairs(users, chances, open_, PAIRS_OF_USER))
    return Pairs(
        np.concatenate([part.user for part in parts]),
        np.concatenate([part.item for part in parts]),
        np.concatenate([part.probability for part in parts]),
    )


def uncertain_pairs(users: Rows, probabilities: Numbers, unlabelled: Mask, most: int) -> Pairs:
    """Return each user's `most` most uncertain pairs, ties by item.

    `probabilities` and `unlabelled` [u, n] are those of `users` [u] and all items; pairs that are
    labelled stay out.
    """
    distance = np.where(unlabelled, np.abs(probabilities - 0.5), np.inf)
    items = np.argsort(distance, axis=1, kind="stable")[:, :most]
    open_ = np.take_along_axis(unlabelled, items, axis=1)
    chances = np.take_along_axis(probabilities, items, axis=1)
    return Pairs(np.repeat(users, open_.sum(axis=1)), items[open_], chances[open_])


def diverse_pairs(pairs: Pairs, vectors: Factors, count: int, seed: int) -> Pairs:
    """Return `count` distinct uncertain and diverse pairs, the best first, or fewer.

    `vectors` [n, w] of unit length are those of the items' texts. Equals are drawn by `seed`.
    Fewer are returned where no more are left to users and items that may still be asked for.
    """
    pairs = pairs.take(np.random.default_rng(seed).permutation(len(pairs)))
    worth = (1.0 - DIVERSITY) * pairs.uncertainty
    likeness = np.zeros(len(vectors))
    left = {
        id_: np.full(rows.max(initial=0) + 1, limit(rows, count))
        for id_, rows in (("user", pairs.user), ("item", pairs.item))
    }
    chosen: list[int] = []
    while len(chosen) < min(count, len(pairs)):
        gain = worth - DIVERSITY * likeness[pairs.item]
        gain[(left["user"][pairs.user] <= 0) | (left["item"][pairs.item] <= 0)] = -np.inf
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        if gain[best] == -np.inf:
            break
        chosen.append(best)
        left["user"][pairs.user[best]] -= 1
        left["item"][pairs.item[best]] -= 1
        likeness = np.maximum(likeness, vectors @ vectors[pairs.item[best]])
    return pairs.take(np.array(chosen, dtype=np.int64))


def limit(rows: Rows, count: int) -> int:
    """Return how many of `count` pairs one of the users (items) in `rows` [m] may have."""
    return -(-EVEN_SHARES * count // max(len(np.unique(rows)), 1))
