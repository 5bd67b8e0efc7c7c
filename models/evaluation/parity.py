"""Parity: how far the compressed model's recommendations are from the fine-tuned model's.

- Both models answer the same questions. For each question we report the NDCG@10 of both, the
  difference with its interval (paired bootstrap over users), the overlap of the top 10 lists, and
  the rank correlation of the scores.
- The gate uses the largest relative loss of NDCG among the questions.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from models.data.arrays import Factors, Rows, Scores
from models.evaluation.bootstrap import bootstrap_interval
from models.evaluation.question import Question, Scorer, judge

RESAMPLES = 2000
CORRELATED_USERS = 128
HEADER = (
    f"{'validation':<12} users  fine-tuned  shipped  {'loss':>8}  {'difference':<26}  "
    "overlap  correlation"
)


@dataclass(frozen=True)
class Agreement:
    """The compressed model compared with the fine-tuned one on one question.

    `difference` is shipped minus fine-tuned NDCG@10 as (low, mean, high).
    """

    users: int
    ndcg_fine_tuned: float
    ndcg_shipped: float
    difference: tuple[float, float, float]
    overlap: float
    rank_correlation: float

    @property
    def relative_loss(self) -> float:
        """Share of the fine-tuned NDCG that compression lost; negative where it gained."""
        return 1.0 - self.ndcg_shipped / max(self.ndcg_fine_tuned, 1e-12)


@dataclass(frozen=True)
class Parity:
    """The agreement on each question, and of the text vectors, which have unit length."""

    questions: dict[str, Agreement]
    mean_cosine: float
    largest_vector_error: float

    @property
    def relative_loss(self) -> float:
        """The largest relative loss among the questions."""
        return max((found.relative_loss for found in self.questions.values()), default=0.0)

    def metrics(self) -> dict[str, float]:
        """Return the figures by name; those of a question begin with the question's name."""
        found = {
            f"{name}_{figure}": float(getattr(agreement, figure))
            for name, agreement in self.questions.items()
            for figure in (
                "ndcg_fine_tuned", "ndcg_shipped", "relative_loss", "overlap", "rank_correlation",
            )
        }  # fmt: skip
        vectors = {
            "mean_cosine": self.mean_cosine,
            "largest_vector_error": self.largest_vector_error,
        }
        return {**found, **vectors}

    def table(self) -> str:
        """Return aligned lines, one for each question."""
        lines = [HEADER]
        for name, found in self.questions.items():
            low, mean, high = found.difference
            lines.append(
                f"{name:<12} {found.users:>5}  {found.ndcg_fine_tuned:>10.4f}  "
                f"{found.ndcg_shipped:>7.4f}  {found.relative_loss:>8.2%}  "
                f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]  {found.overlap:>7.1%}  "
                f"{found.rank_correlation:>11.4f}"
            )
        return "\n".join(lines)


def agreement(question: Question, fine_tuned: Scorer, shipped: Scorer, seed: int) -> Agreement:
    """Compare two models on a question with at least one user."""
    theirs, ours = judge(question, fine_tuned), judge(question, shipped)
    before, after = theirs.ndcg(), ours.ndcg()
    return Agreement(
        users=len(question.users),
        ndcg_fine_tuned=float(before.mean()),
        ndcg_shipped=float(after.mean()),
        difference=bootstrap_interval(after, before, RESAMPLES, seed),
        overlap=overlap(theirs.hits.rows, ours.hits.rows),
        rank_correlation=rank_correlation(question, fine_tuned, shipped),
    )


def mean_cosine(vectors: Scores, shipped: Scores) -> float:
    """Return the mean cosine between both models' vectors [t, w] of the same texts."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(shipped, axis=1)
    return float(((vectors * shipped).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())


def largest_error(vectors: Factors, shipped: Factors) -> float:
    """Return the largest distance between both models' vectors [t, w] of a text."""
    return float(np.linalg.norm(vectors - shipped, axis=1).max())


def overlap(ours: Rows, theirs: Rows) -> float:
    """Return the mean share of each list [u, k] that is also in the other; -1 is no item."""
    shared = (ours[:, :, None] == theirs[:, None, :]) & (ours >= 0)[:, :, None]
    sizes = np.maximum((ours >= 0).sum(axis=1), 1)
    return float((shared.any(axis=2).sum(axis=1) / sizes).mean())


def rank_correlation(question: Question, ours: Scorer, theirs: Scorer) -> float:
    """Return the mean Spearman correlation of two models' scores of the candidates.

    Over the first CORRELATED_USERS users of the question.
    """
    some = slice(0, CORRELATED_USERS)
    left, right = (
        rankdata(score(question.histories[some], question.profiles[some])[:, candidates], axis=1)
        for candidates in [question.trial.candidates]
        for score in (ours, theirs)
    )
    left -= left.mean(axis=1, keepdims=True)
    right -= right.mean(axis=1, keepdims=True)
    return mean_cosine(left, right)
