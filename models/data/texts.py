"""Texts of items and users as the language model reads them, and their order for batching.

- An item reads "title. description"; a user reads the profile text as it is.
- Batches hold texts of similar length, so that little of a batch is padding.
"""

from collections.abc import Sequence

import numpy as np

from models.data.arrays import Rows
from models.data.interactions import Catalogue


def item_texts(catalogue: Catalogue) -> list[str]:
    """Return the text of each item, in catalogue order."""
    return [item_text(*both) for both in zip(catalogue.titles, catalogue.texts, strict=True)]


def item_text(title: str, text: str) -> str:
    """Return "title. description", or the one of them that there is."""
    return f"{title}. {text}" if title and text else title or text


def length_buckets(lengths: Sequence[int], size: int) -> list[Rows]:
    """Return rows in groups of at most `size`, longest texts first, ties by row."""
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]
