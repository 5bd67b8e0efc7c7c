"""Metrics of ranked lists, and of probabilities, as arrays in and numbers out.

- `top_rows` ranks a block of scores; ties go to the lower item row, as everywhere here.
- `Hits` holds one model's lists and gives NDCG, recall, reciprocal rank and hit for each user.
- Coverage, Gini, popularity, novelty and diversity look at the lists alone.
- `area_under_curve` and `calibration_error` judge scores and probabilities of labelled pairs.

Trade-off: binary gains and a whole catalogue only; no sampled or graded variants to choose from.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from models.data.arrays import Factors, Mask, Numbers, Rows, Scores

CALIBRATION_BINS = 10


def top_rows(scores: Scores, allowed: Mask, k: int) -> Rows:
    """Return the item rows [u, k] of the best scores [u, n] among the allowed [u, n].

    Ties stand by ascending row; where fewer than k are allowed, -1 fills the end.
    """
    k_here = min(k, scores.shape[1])
    masked = np.where(allowed, -scores, np.inf)
    # not the largest of the scores: numpy takes ten times as long where many are zero
    edge = np.partition(masked, k_here - 1, axis=1)[:, k_here - 1 : k_here]
    chosen = masked <= edge
    crowded = np.flatnonzero(np.count_nonzero(chosen, axis=1) > k_here)
    if len(crowded):
        chosen[crowded] = _first_of_equals(masked[crowded], edge[crowded], k_here)
    rows = (np.flatnonzero(chosen) % scores.shape[1]).reshape(len(scores), k_here)
    order = np.argsort(np.take_along_axis(masked, rows, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(rows, order, axis=1)
    best = np.where(np.take_along_axis(allowed, best, axis=1), best, -1)
    return np.pad(best, ((0, 0), (0, k - k_here)), constant_values=-1)


def _first_of_equals(masked: Scores, edge: Scores, k: int) -> Mask:
    """Return the k of `masked` [u, n] below the `edge` [u, 1], and as many as miss at it."""
    below, level = masked < edge, masked == edge
    missing = k - below.sum(axis=1, keepdims=True)
    return np.asarray(below | (level & (np.cumsum(level, axis=1) <= missing)))


@dataclass(frozen=True)
class Hits:
    """One model's lists [u, k], what of them is true [u, k], and the true items' counts [u]."""

    rows: Rows
    hits: Mask
    relevant: Rows

    def ndcg(self) -> Numbers:
        """Return each user's NDCG@k with binary gains, 0 where there is nothing to find."""
        k = self.hits.shape[1]
        gains = 1.0 / np.log2(np.arange(k) + 2.0)
        ideal = np.concatenate([[0.0], np.cumsum(gains)])[np.minimum(self.relevant, k)]
        return _ratio(np.asarray((self.hits * gains).sum(axis=1)), ideal)

    def recall(self) -> Numbers:
        """Return each user's hits divided by the most that k places can hold."""
        return _ratio(self.hits.sum(axis=1), np.minimum(self.relevant, self.hits.shape[1]))

    def reciprocal_rank(self) -> Numbers:
        """Return 1 / the rank of each user's first hit, 0 without one."""
        return _ratio(self.hit(), self.hits.argmax(axis=1) + 1)

    def hit(self) -> Numbers:
        """Return 1.0 for each user with a hit."""
        return np.asarray(self.hits.any(axis=1), dtype=np.float64)


def _ratio(part: Scores | Rows, whole: Scores | Rows) -> Numbers:
    return np.asarray(np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0))


def recommendation_counts(rows: Rows, n_items: int) -> Rows:
    """Return how often each of `n_items` stands in the lists [u, k]; -1 stands for no item."""
    return np.bincount(rows[rows >= 0], minlength=n_items)


def gini(counts: Rows) -> float:
    """Return the Gini coefficient of counts: 0 where all are equal, near 1 where one has all."""
    ordered, n = np.sort(counts), len(counts)
    if ordered.sum() == 0:
        return 0.0
    weights = 2.0 * np.arange(1, n + 1) - n - 1
    return float(weights @ ordered / (n * ordered.sum()))


def list_overlap(counts: Rows, users: int) -> float:
    """Return the mean share of a list that two users have in common; 0 with fewer than two users.

    `counts` say in how many of the `users` lists each item stands.
    """
    pairs = users * (users - 1)
    both = float((counts * (counts - 1)).sum())
    return both / pairs / (float(counts.sum()) / users) if pairs and counts.any() else 0.0


def popularity_percentile(rows: Rows, popularity: Rows) -> float:
    """Return the mean percentile, 0 to 1, of the listed items' popularity; ties share theirs."""
    percentile = (rankdata(popularity) - 1) / max(len(popularity) - 1, 1)
    return _mean(percentile[rows[rows >= 0]])


def new_items(rows: Rows, popularity: Rows) -> float:
    """Return the share of the listed items that nobody had liked before."""
    return _mean(popularity[rows[rows >= 0]] == 0)


def novelty(rows: Rows, popularity: Rows, n_users: int) -> float:
    """Return the mean of -log2 of the share of users who have each listed item.

    An item that nobody has counts as one that a single user has.
    """
    share = np.maximum(popularity, 1) / max(n_users, 1)
    return _mean(-np.log2(share[rows[rows >= 0]]))


def diversity(rows: Rows, vectors: Factors) -> float:
    """Return 1 - the mean cosine of the pairs in each list, for item vectors [n, d].

    With unit vectors a list's sum has the squared length m + the sum of its pairs' cosines.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(norms, 1e-12)
    present = (rows >= 0)[:, :, None]
    listed = np.where(present, unit[np.maximum(rows, 0)], 0.0)
    own = (listed**2).sum(axis=(1, 2))
    count = present.sum(axis=(1, 2))
    pairs = count * (count - 1)
    cosine = _ratio((listed.sum(axis=1) ** 2).sum(axis=1) - own, pairs)
    return 1.0 - _mean(cosine[pairs > 0])


def area_under_curve(scores: Scores, labels: Mask) -> float | None:
    """Return the ROC-AUC [m pairs], ties counted half; None where one class is missing."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return None
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def reliability(
    probabilities: Scores, labels: Mask, bins: int = CALIBRATION_BINS
) -> list[tuple[float, float, int]]:
    """Return what was said, what came true and how many pairs, by bin of equal width.

    Bins without pairs are left out.
    """
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    said = np.bincount(place, weights=probabilities, minlength=bins)
    was = np.bincount(place, weights=labels, minlength=bins)
    return [
        (float(said[one] / count[one]), float(was[one] / count[one]), int(count[one]))
        for one in np.flatnonzero(count)
    ]


def calibration_error(probabilities: Scores, labels: Mask, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error of probabilities [m] over bins of equal width."""
    found = reliability(probabilities, labels, bins)
    return sum(abs(said - was) * count for said, was, count in found) / max(len(labels), 1)


def _mean(values: Scores) -> float:
    return float(np.mean(values)) if len(values) else 0.0
