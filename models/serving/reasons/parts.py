"""One score in all its parts, as `nightrank explain` shows them.

Trade-off: factors are computed for this user and these items alone, which gives the same bits as a
whole night and takes a second.
"""

from dataclasses import dataclass

import numpy as np

from models.data.arrays import Factors
from models.data.interactions import Catalogue, History
from models.serving.bundle import Bundle
from models.serving.history_encoder import HistoryEncoder, by_block
from models.serving.item_factors import item_factors
from models.serving.reasons.contributions import (
    beside_history,
    block_columns,
    remembered,
    speaking,
)
from models.serving.text_vectors import TextVectors


@dataclass(frozen=True)
class Parts:
    """What adds to a score: each part by name, and, of the blocks, each row of the history.

    `by_part` adds up to `score`, and `by_item` to the blocks' parts of it.
    """

    score: float
    by_part: dict[str, float]
    by_item: dict[int, float]


def parts_of(
    bundle: Bundle,
    catalogue: Catalogue,
    vectors: Factors,
    row: int,
    history: History,
    profile: str,
    clock: float | None,
    lately: str,
) -> Parts:
    """Return the parts of the score of the item `row` of `catalogue` for one user.

    `vectors` [n, w] are those of the catalogue's texts, which has every item of the history;
    `clock` and `lately` as in a `NightPlan`.
    """
    facts = bundle.manifest
    items = item_factors(bundle, catalogue, vectors, 1)
    history_factors = by_block(items.history, facts.blocks)
    tower = HistoryEncoder(bundle, history_factors, 1)
    user = tower.encode([history], TextVectors(bundle.encoder, 1).encode([profile]), clock)
    counted = tower.counted([history])
    past = remembered(counted, bundle.positive_threshold, facts.history_length, facts.blocks)
    speak = speaking(past, user, history_factors, facts.blocks)
    ranking = items.ranking[[row]]
    width = speak.shape[1]
    others = beside_history(user, ranking, items.own[[row]], items.attributes[[row]], width)[0]
    by_part = {
        block.name: float(user[0, part] @ ranking[0, part])
        for block, part in zip(facts.blocks, block_columns(facts.blocks), strict=True)
    }
    names = ("profile", "popular of all time", f"popular {lately}", "text", "attributes")
    beside = dict(zip(names, others.tolist(), strict=True))
    kept = ("profile", *(names[1:3] if items.own[row] else names[3:]))
    by_item = dict(zip(past.rows.tolist(), (speak @ ranking[0, :width]).tolist(), strict=True))
    return Parts(
        float(user[0] @ ranking[0]),
        by_part | {name: beside[name] for name in kept},
        by_item if np.diff(past.starts)[0] else {},
    )
