"""What adds to a score, by plain loops in double precision, from what a version says of itself."""

from collections import defaultdict

import numpy as np

from models.data.arrays import Factors, Numbers
from models.data.interactions import History
from models.factors.popularity import POPULARITY_SIZE
from models.serving.manifest import Manifest


def what_items_add(
    manifest: Manifest, history: History, user: Factors, item: Factors, history_factors: Factors
) -> dict[int, float]:
    """Return what each row of the history adds to `user` [d] · `item` [d]."""
    newest = list(zip(history.item[::-1], history.value[::-1], strict=True))
    newest = newest[: manifest.history_length]
    threshold = manifest.settings.positive_threshold
    added: dict[int, float] = defaultdict(float)
    start = 0
    for block in manifest.blocks:
        part = slice(start, start + block.size)
        start += block.size
        votes = []
        for age, (row, value) in enumerate(newest):
            grade = 1.0 if value >= threshold else block.below
            weight = grade * (block.floor + 0.5 ** (age / block.half_life))
            votes.append((int(row), weight * history_factors[row, part].astype(np.float64)))
        total = sum((vote for _, vote in votes), np.zeros(block.size))
        length = max(float(np.linalg.norm(total)), 1e-9)
        gain = float(np.linalg.norm(user[part]))
        for row, vote in votes:
            added[row] += gain * float(vote @ item[part]) / length
    return added


def what_else_adds(user: Factors, item: Factors, blocks: int) -> dict[str, float]:
    """Return what profile and popularity add, for an item with factors of its own."""
    products: Numbers = user.astype(np.float64) * item.astype(np.float64)
    all_time, of_late = np.split(products[-POPULARITY_SIZE:], 2)
    return {
        "profile": float(products[blocks:-POPULARITY_SIZE].sum()),
        "popular": float(all_time.sum()),
        "popular lately": float(of_late.sum()),
    }
