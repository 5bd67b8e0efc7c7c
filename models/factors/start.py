"""The closed-form part of a model: blocks of factors that meet in one dot product.

- `BLOCKS` lists the collaborative blocks: what is liked together (EASE), what is liked next
  (transitions), the factors of ALS, and what is alike in text and attributes.
- After them come a few dimensions of the users' profiles and four of popularity.
- Every block is whitened, so that the scores of a user's unit vector have standard deviation one
  and blocks can be weighed against each other.

Nothing here is as large as users times items, or items times items, beyond some thousand items.

Trade-off: training these factors by gradients was tried and lost (docs/experiments.md).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Mask
from models.data.interactions import Interactions
from models.errors import InputError
from models.factors.als import AlsBlock
from models.factors.blocks import Block, BlockAlgorithm, Evidence, HistoryWeights
from models.factors.ease import EaseBlock
from models.factors.fitted_with import FittedWith
from models.factors.low_rank import whiten
from models.factors.popularity import Popularity, RecentOptions, popularity_columns
from models.factors.profile import ProfileOptions, fit_profile
from models.factors.topics import TopicBlock, TopicOptions, item_topics
from models.factors.transitions import TransitionBlock

BLOCKS: tuple[BlockAlgorithm, ...] = (EaseBlock(), TransitionBlock(), AlsBlock(), TopicBlock())


@dataclass(frozen=True)
class Algorithms:
    """All that decides how a start is fitted, and how users weigh it; every part has a default.

    Other options or weights of a block: `dataclasses.replace(block, weights=..., options=...)`.
    """

    blocks: tuple[BlockAlgorithm, ...] = BLOCKS
    topics: TopicOptions = field(default_factory=TopicOptions)
    profile: ProfileOptions = field(default_factory=ProfileOptions)
    recent: RecentOptions = field(default_factory=RecentOptions)
    popularity: Popularity = field(default_factory=Popularity)

    @classmethod
    def of(
        cls, fitted_with: FittedWith, blocks: Sequence[Block], popularity: Popularity
    ) -> "Algorithms":
        """Return the algorithms by which a version with these blocks and weights was fitted.

        Raises InputError where this code has other blocks.
        """
        ours, theirs = [one.name for one in BLOCKS], [one.name for one in blocks]
        if ours != theirs:
            raise InputError(f"the version has blocks {theirs}, the code {ours}: train again")
        fitted = (
            replace(algorithm, weights=_weights(block))
            for algorithm, block in zip(BLOCKS, blocks, strict=True)
        )
        options = {"penalty": fitted_with.ease_penalty, "below": fitted_with.ease_below}
        return cls(
            blocks=tuple(with_ease(block, **options) for block in fitted),
            recent=RecentOptions(times=fitted_with.recent_times),
            popularity=popularity,
        )

    @property
    def fitted_with(self) -> FittedWith:
        """What a version has to keep beside its weights, to be fitted again."""
        [ease] = [one.options for one in self.blocks if isinstance(one, EaseBlock)]
        return FittedWith(ease.penalty, ease.below, self.recent.times)


def with_ease(block: BlockAlgorithm, **options: float) -> BlockAlgorithm:
    """Return the block of EASE with other `options`, any other block as it is."""
    if not isinstance(block, EaseBlock):
        return block
    return replace(block, options=replace(block.options, **options))


def _weights(block: Block) -> HistoryWeights:
    return HistoryWeights(**{one.name: getattr(block, one.name) for one in fields(HistoryWeights)})


@dataclass(frozen=True)
class Start:
    """Closed-form factors of the known items.

    `ranking` [n, d]: the blocks' dimensions, then p for profiles, then four of popularity;
    `history` [n, h]: the blocks' dimensions alone; `known` [n]: items with positives;
    a profile vector [w] means (vector - `profile_mean`) @ `profile_weights` [w, p].
    """

    blocks: tuple[Block, ...]
    popularity: Popularity
    ranking: Factors
    history: Factors
    known: Mask
    profile_weights: Factors
    profile_mean: Factors


def collaborative_start(
    interactions: Interactions,
    threshold: float,
    content: sparse.csr_array,
    profiles: Factors,
    factors: int,
    algorithms: Algorithms | None = None,
) -> Start:
    """Fit all blocks to the interactions of a training part, positive from `threshold` on or not.

    `content` [n, c] are the items' text and attribute features, `profiles` [u, w] the users'
    profile vectors, `factors` the dimensions of all blocks together. Raises ValueError where the
    blocks don't fill them.
    """
    chosen = algorithms or Algorithms()
    evidence = Evidence(interactions, threshold, item_topics(content, factors, chosen.topics))
    positives = evidence.positives
    sizes = block_sizes(chosen.blocks, factors, evidence)
    pairs = [
        whiten(*block.fit(evidence, size)) for block, size in zip(chosen.blocks, sizes, strict=True)
    ]
    profile, weights, mean = fit_profile(positives, profiles, chosen.profile)
    popularity = popularity_columns(positives, chosen.recent)
    return Start(
        blocks=tuple(
            Block(name=block.name, size=size, **asdict(block.weights))
            for block, size in zip(chosen.blocks, sizes, strict=True)
        ),
        popularity=chosen.popularity,
        ranking=np.hstack([*(r for _, r in pairs), profile, popularity]).astype(np.float32),
        history=np.hstack([h for h, _ in pairs]).astype(np.float32),
        known=evidence.counts > 0,
        profile_weights=weights,
        profile_mean=mean,
    )


def block_sizes(blocks: Sequence[BlockAlgorithm], factors: int, evidence: Evidence) -> list[int]:
    """Return the dimensions of each block, `factors` together.

    Raises ValueError unless one block takes what the others leave, and something is left.
    """
    wanted = [block.size(factors, evidence) for block in blocks]
    left = factors - sum(size or 0 for size in wanted)
    if wanted.count(None) != 1 or left < 0:
        taken = {block.name: size for block, size in zip(blocks, wanted, strict=True)}
        raise ValueError(
            f"blocks of {taken} dimensions don't fill {factors}: one has to take what the others "
            "leave (None), and they no more than there are"
        )
    return [left if size is None else size for size in wanted]
