"""The block of items that are alike: principal components of their texts and attributes."""

from dataclasses import dataclass, field
from typing import ClassVar

from scipy import sparse

from models.data.arrays import Factors
from models.factors.blocks import BELOW, BlockAlgorithm, Evidence, HistoryWeights
from models.factors.low_rank import principal_components


@dataclass(frozen=True)
class TopicOptions:
    """Options of the topics, chosen on the validation parts of MovieLens-100K."""

    rank: int = 96
    """The most topics; fewer where a fifth of all dimensions is less."""


@dataclass(frozen=True)
class TopicBlock(BlockAlgorithm):
    """Likes what is like the newest positives, in as many dimensions as there are topics."""

    name: ClassVar[str] = "alike"
    weights: HistoryWeights = field(
        default=HistoryWeights(floor=0.3, half_life=10.0, gain=0.2, away=0.13, below=BELOW)
    )

    def size(self, _factors: int, evidence: Evidence) -> int:
        """Return the number of topics."""
        return int(evidence.topics.shape[1])

    def fit(self, evidence: Evidence, _size: int) -> tuple[Factors, Factors]:
        """Return history and ranking factors [n, t]: the topics, for both."""
        return evidence.topics, evidence.topics.copy()


def item_topics(content: sparse.csr_array, factors: int, options: TopicOptions) -> Factors:
    """Return the topics [n, t] of the items' text and attribute features [n, c].

    `factors` are the dimensions of all blocks together.
    """
    return principal_components(content, min(options.rank, factors // 5))
