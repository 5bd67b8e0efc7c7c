"""Items to ranking and history factors, without torch.

- An item that the version knows has factors of its own.
- Any other item has the factors that the item tower computes from its text, plus the sum of the
  factors of its attributes.

Trade-off: blocks of a fixed number of items, so that an item's factors are the same bits whatever
other items there are; a small catalogue pays for rows that it doesn't fill.
"""

import json
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.data.arrays import Factors, Mask
from models.data.attributes import AttributeColumns
from models.data.interactions import Catalogue
from models.factors.popularity import POPULARITY_SIZE
from models.serving.bundle import (
    ATTRIBUTE_FACTORS,
    ATTRIBUTES,
    HISTORY_FACTORS,
    ITEM_FACTORS,
    ITEM_TOWER,
    Bundle,
)
from models.serving.runtime import open_session

ITEMS_AT_ONCE = 4096


@dataclass(frozen=True)
class ItemFactors:
    """The factors of a catalogue's items: `ranking` [n, d] and `history` [n, h].

    `own` [n] are the items that the version knows. Of any other item the popularity dimensions are
    promised by its text and by its attributes, and `attributes` [n, 4] is the part of these.
    """

    ranking: Factors
    history: Factors
    own: Mask
    attributes: Factors


def attribute_columns(bundle: Bundle, catalogue: Catalogue) -> sparse.csr_array:
    """Return the catalogue's attributes in the columns [n, c] of the version's training."""
    content = json.loads(bundle.path(ATTRIBUTES).read_text("utf-8"))
    return AttributeColumns.from_json(content).encode(catalogue.attributes)


def item_factors(
    bundle: Bundle, catalogue: Catalogue, vectors: Factors, threads: int
) -> ItemFactors:
    """Return the factors of the catalogue's items; `vectors` [n, w] are of the texts.

    An item's are the same bits whatever other items there are.
    """
    own_ranking, own_history = bundle.array(ITEM_FACTORS), bundle.array(HISTORY_FACTORS)
    columns = attribute_columns(bundle, catalogue).astype(np.float32)
    sums = columns @ bundle.array(ATTRIBUTE_FACTORS)
    size = own_ranking.shape[1]
    tower = open_session(bundle.path(ITEM_TOWER), threads)
    parts = []
    for start in range(0, len(vectors), ITEMS_AT_ONCE):
        block = slice(start, start + ITEMS_AT_ONCE)
        # always as many rows: a product's last bits depend on their number
        missing = ((0, ITEMS_AT_ONCE - len(vectors[block])), (0, 0))
        feed = {
            "text_vectors": np.pad(vectors[block], missing),
            "ranking_sum": np.pad(sums[block, :size], missing),
            "history_sum": np.pad(sums[block, size:], missing),
        }
        parts.append([found[: len(vectors[block])] for found in tower.run(None, feed)])
    ranking, history = (np.concatenate(column) for column in zip(*parts, strict=True))
    rows = {item: row for row, item in enumerate(bundle.item_ids)}
    own = np.array([rows.get(item, -1) for item in catalogue.item_ids], dtype=np.int64)
    ranking[own >= 0] = own_ranking[own[own >= 0]]
    history[own >= 0] = own_history[own[own >= 0]]
    attributes = np.where(own[:, None] >= 0, 0.0, sums[:, size - POPULARITY_SIZE : size])
    return ItemFactors(ranking, history, own >= 0, attributes.astype(np.float32))
