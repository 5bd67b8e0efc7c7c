"""What tuning took away: likeness of general sentences before and after.

A fixed set of sentence pairs, of which some mean the same, some nothing alike and some nearly the
opposite; the sentences that `Replay` repeats are others.

Trade-off: forty pairs of our own tell much from little, and are no public benchmark.
"""

import json
from pathlib import Path

import numpy as np
from scipy import stats

from models.data.arrays import Numbers
from models.network.encoder import TextEncoder

_SENTENCES = json.loads(Path(__file__).with_name("general_sentences.json").read_text("utf-8"))
PAIRS: list[tuple[str, str]] = [(first, second) for first, second in _SENTENCES["pairs"]]
REPLAYED: list[str] = _SENTENCES["replayed"]


def likeness(encoder: TextEncoder) -> Numbers:
    """Return the cosine of each of `PAIRS`."""
    first, second = (encoder.vectors([pair[side] for pair in PAIRS]) for side in (0, 1))
    return np.asarray((first * second).sum(axis=1), dtype=np.float64)


def retention(before: Numbers, after: Numbers) -> dict[str, float]:
    """Return Spearman's rank correlation of two likenesses, and their mean distance."""
    order = float(stats.spearmanr(before, after).statistic)
    return {
        "general_rank_correlation": order,
        "general_drift": float(np.abs(after - before).mean()),
    }
