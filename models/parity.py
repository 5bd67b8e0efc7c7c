"""Parity: how far the compressed model's recommendations are from the fine-tuned one's.

- Both rank the validation question; NDCG@10 of each, and the overlap of their top 10.
- The gate looks at the relative loss of NDCG.
"""

from dataclasses import asdict, dataclass

import numpy as np

from models.comparison import Answer
from models.dataset import Factors, Rows


@dataclass(frozen=True)
class Parity:
    """The compressed model beside the fine-tuned one on the same users."""

    ndcg_fine_tuned: float
    ndcg_shipped: float
    overlap: float
    largest_vector_error: float

    @property
    def relative_loss(self) -> float:
        """Share of the fine-tuned NDCG that compression lost; negative where it gained."""
        return 1.0 - self.ndcg_shipped / max(self.ndcg_fine_tuned, 1e-12)

    def metrics(self) -> dict[str, float]:
        """Return the figures by name."""
        return {**asdict(self), "relative_loss": self.relative_loss}


def compare(
    fine_tuned: Answer, shipped: Answer, vectors: Factors, shipped_vectors: Factors
) -> Parity:
    """Return the parity of two answers to the same question and of the text vectors [t, w]."""
    return Parity(
        ndcg_fine_tuned=float(fine_tuned.ndcg().mean()),
        ndcg_shipped=float(shipped.ndcg().mean()),
        overlap=overlap(fine_tuned.hits.rows, shipped.hits.rows),
        largest_vector_error=float(np.linalg.norm(vectors - shipped_vectors, axis=1).max()),
    )


def overlap(ours: Rows, theirs: Rows) -> float:
    """Return the mean share of each list [u, k] that the other holds too; -1 is no item."""
    shared = (ours[:, :, None] == theirs[:, None, :]) & (ours >= 0)[:, :, None]
    sizes = np.maximum((ours >= 0).sum(axis=1), 1)
    return float((shared.any(axis=2).sum(axis=1) / sizes).mean())
