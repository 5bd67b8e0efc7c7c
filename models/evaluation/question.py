"""Asks models the question of a trial, and keeps the answers side by side.

- `Question` holds what all models are asked: the users with something to find, their histories
  and profiles, what is true and what may be ranked. The mask is a night's: an item that
  the user has had is not ranked, unless it may be repeated by then (`models.data.repeats`).
- Of many users a sample is asked, drawn by a fixed seed: so many that their scores of all items
  take minutes. Every metric is then that of a sample, and so are the intervals around it.
- `judge` scores the users in blocks and keeps lists, hits and the scores of labelled pairs, each
  user's in standard deviations over the candidates, so that they compare across users.

Trade-off: where items are not to be repeated, one that a user takes again is neither ranked nor
counted as true.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Mask, Numbers, Rows, Scores
from models.data.interactions import History, Interactions, histories
from models.data.matrices import drawn, user_item_matrix
from models.data.splits import Trial
from models.evaluation.metrics import (
    Hits,
    area_under_curve,
    diversity,
    gini,
    list_overlap,
    new_items,
    novelty,
    popularity_percentile,
    recommendation_counts,
    top_rows,
)

Option = TypeVar("Option")
Scorer = Callable[[list[History], list[str]], Scores]

CUTOFF = 10
USERS_AT_ONCE, SCORES_AT_ONCE = 256, 2**23
# of a report, and of the validations that a training or an export makes time and again
REPORT_USERS, REPORT_PAIRS = 20_000, 2_000_000_000
VALIDATION_USERS, VALIDATION_PAIRS = 10_000, 200_000_000
LEAST_ASKED = 500

_log = logging.getLogger("nightrank.evaluate")


@dataclass(frozen=True)
class Question:
    """The users [u] asked, what each has and is, and sparse [u, n] truth and what is kept off.

    `drawn_from` is the number of users who could have been asked: u, or more if u are a sample.
    """

    trial: Trial
    users: Rows
    drawn_from: int
    histories: list[History]
    profiles: list[str]
    truth: sparse.csr_array
    seen: sparse.csr_array

    def of_some(self, most: int) -> "Question":
        """Return the question asked of `most` of its users, drawn at random where it has more."""
        if len(self.users) <= most:
            return self
        return self.at(drawn(np.arange(len(self.users)), most))

    def at(self, rows: Rows) -> "Question":
        """Return the question asked of the users at these `rows` of it, in that order."""
        return replace(
            self,
            users=self.users[rows],
            histories=[self.histories[row] for row in rows],
            profiles=[self.profiles[row] for row in rows],
            truth=sparse.csr_array(self.truth[rows]),
            seen=sparse.csr_array(self.seen[rows]),
        )


@dataclass(frozen=True)
class Answer:
    """A model's lists for the users asked, and its standard scores of their labelled pairs [m]."""

    hits: Hits
    pair_scores: Numbers

    def ndcg(self) -> Numbers:
        """Return NDCG@10 for each user asked [u]."""
        return self.hits.ndcg()


def ask(trial: Trial, profiles: Sequence[str], report: bool = False) -> Question:
    """Prepare a trial's question; `profiles` are the texts of all users by user row.

    Users are asked who have a true item that can be ranked: a candidate that isn't kept off. Of
    very many a sample is asked, a larger one for a `report`.
    """
    ranked = np.zeros(trial.truth.n_items)
    ranked[trial.candidates] = 1.0
    seen, found = seen_and_found(trial)
    truth = sparse.csr_array(found * ranked)
    truth.eliminate_zeros()
    everyone = np.flatnonzero(truth.sum(axis=1) > 0)
    users = _sample(everyone, trial.truth.n_items, report)
    return Question(
        trial,
        users,
        len(everyone),
        histories(trial.labelled_given, users),
        [profiles[user] for user in users.tolist()],
        sparse.csr_array(truth[users]),
        sparse.csr_array(seen[users]),
    )


def _sample(users: Rows, n_items: int, report: bool) -> Rows:
    """Return `users`, or as many as a question to them all may take."""
    most, pairs = (REPORT_USERS, REPORT_PAIRS) if report else (VALIDATION_USERS, VALIDATION_PAIRS)
    count = min(most, max(pairs // max(n_items, 1), LEAST_ASKED))
    if len(users) > count:
        _log.info("a sample of %d of %d users is asked", count, len(users))
    return drawn(users, count)


def of_likes(score: Scorer, threshold: float) -> Scorer:
    """Return the scorer that knows of each history what was liked, at or above `threshold`."""

    def score_likes(histories: list[History], profiles: list[str]) -> Scores:
        return score([history.positives(threshold) for history in histories], profiles)

    return score_likes


def seen_and_found(trial: Trial) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return what each user may not get again [u, n], and what they liked of the rest."""
    had = trial.repeats.not_to_repeat(trial.labelled_given, trial.clock)
    seen, liked = user_item_matrix(had), user_item_matrix(trial.truth)
    found = sparse.csr_array(liked - liked * seen)
    found.eliminate_zeros()
    return seen, found


def judge(question: Question, score: Scorer, k: int = CUTOFF) -> Answer:
    """Return a model's answer; ValueError where its scores have another shape or aren't finite."""
    candidate = np.zeros(question.truth.shape[1], dtype=np.bool_)
    candidate[question.trial.candidates] = True
    labelled, place = labelled_pairs(question)
    pair_scores = np.zeros(len(labelled))
    rows, hits = [], []
    at_once = users_at_once(len(candidate))
    for start in range(0, len(question.users), at_once):
        block = slice(start, start + at_once)
        scores = score(question.histories[block], question.profiles[block])
        _check(scores, (len(question.histories[block]), len(candidate)))
        allowed = np.tile(candidate, (len(scores), 1))
        allowed[question.seen[block].nonzero()] = False
        best = top_rows(scores, allowed, k)
        true = np.take_along_axis(question.truth[block].toarray(), np.maximum(best, 0), axis=1)
        rows.append(best)
        hits.append((true > 0) & (best >= 0))
        inside = (place >= start) & (place < start + at_once)
        user = place[inside] - start
        mean, deviation = (each[user, 0] for each in _moments(scores, candidate))
        pair_scores[inside] = _standard(scores[user, labelled.item[inside]], mean, deviation)
    relevant = np.diff(question.truth.indptr).astype(np.int64)
    return Answer(Hits(np.concatenate(rows), np.concatenate(hits), relevant), pair_scores)


def users_at_once(n_items: int) -> int:
    """Return how many users are scored together, so that memory stays bounded."""
    return min(USERS_AT_ONCE, max(SCORES_AT_ONCE // max(n_items, 1), 1))


def headline(question: Question, answer: Answer, vectors: Factors | None) -> dict[str, float]:
    """Return a model's metrics by name; diversity where item vectors [n, d] are handed in.

    AUC takes the standard scores of the labelled pairs, across users.
    """
    hits, train = answer.hits, question.trial.train
    rows, known = hits.rows, popularity_counts(train)
    counts = recommendation_counts(rows, train.n_items)[question.trial.candidates]
    n_users = len(np.unique(train.user))
    found = {
        f"ndcg@{CUTOFF}": _mean(hits.ndcg()),
        f"recall@{CUTOFF}": _mean(hits.recall()),
        f"mrr@{CUTOFF}": _mean(hits.reciprocal_rank()),
        f"hit_rate@{CUTOFF}": _mean(hits.hit()),
        f"coverage@{CUTOFF}": float((counts > 0).sum()) / max(len(counts), 1),
        f"gini@{CUTOFF}": gini(counts),
        f"list_overlap@{CUTOFF}": list_overlap(counts, len(rows)),
        f"top_item@{CUTOFF}": float(counts.max(initial=0)) / max(len(rows), 1),
        f"popularity_percentile@{CUTOFF}": popularity_percentile(rows, known),
        f"novelty@{CUTOFF}": novelty(rows, known, n_users),
        f"new_items@{CUTOFF}": new_items(rows, known),
    }
    if vectors is not None:
        found[f"diversity@{CUTOFF}"] = diversity(rows, vectors)
    labelled, _ = labelled_pairs(question)
    auc = area_under_curve(answer.pair_scores, labelled.value >= question.trial.threshold)
    return found if auc is None else {**found, "auc": auc}


def new_items_liked(question: Question) -> float:
    """Return the share of what is true that are items which nobody had liked before."""
    known = popularity_counts(question.trial.train)
    return _mean(known[question.truth.indices] == 0)


def choose(question: Question, options: Iterable[tuple[Option, Scorer]]) -> Option:
    """Return the option whose scorer has the best mean NDCG@10; the first where none is better.

    `question` is a tuning question; where it asks nobody, the first option stands.
    """
    best, best_ndcg = None, -1.0
    for option, score in options:
        ndcg = mean_ndcg(question, score)
        if best is None or ndcg > best_ndcg:
            best, best_ndcg = option, ndcg
    if best is None:
        raise ValueError("no options to choose from")
    return best


def mean_ndcg(question: Question, score: Scorer) -> float:
    """Return a scorer's mean NDCG@10; 0 where nobody is asked."""
    return float(judge(question, score).ndcg().mean()) if len(question.users) else 0.0


def labelled_pairs(question: Question) -> tuple[Interactions, Rows]:
    """Return the labelled interactions of the users asked, and each one's place among them."""
    labelled = question.trial.labelled
    labelled = labelled.take(np.isin(labelled.user, question.users))
    return labelled, np.searchsorted(question.users, labelled.user)


def popularity_counts(train: Interactions) -> Rows:
    """Return the number of users [n] who have each item."""
    return np.asarray(user_item_matrix(train).sum(axis=0), dtype=np.int64)


def standardised(scores: Scores, candidate: Mask | slice = slice(None)) -> Numbers:
    """Return scores [u, n] in each user's standard deviations from their mean.

    Mean and deviation are those over the candidates [n]; a user to whom all candidates are the
    same has zeros.
    """
    return _standard(scores, *_moments(scores, candidate))


def _moments(scores: Scores, candidate: Mask | slice) -> tuple[Numbers, Numbers]:
    """Return mean and standard deviation [u, 1] of each user's scores [u, n] of candidates [n]."""
    ranked = scores[:, candidate].astype(np.float64)
    return ranked.mean(axis=1, keepdims=True), ranked.std(axis=1, keepdims=True)


def _standard(scores: Scores, mean: Numbers, deviation: Numbers) -> Numbers:
    """Return scores in deviations from the mean; zero where there is no deviation."""
    centred = scores - mean
    level = np.zeros_like(centred)
    return np.asarray(np.divide(centred, deviation, out=level, where=deviation > 1e-12))


def _mean(values: Numbers) -> float:
    return float(values.mean())


def _check(scores: Scores, shape: tuple[int, int]) -> None:
    if scores.shape != shape:
        raise ValueError(f"scores of shape {scores.shape}, expected {shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinite values")
