"""How much fine-tuning forgets: similarities of general sentences before and after.

A fixed set of sentence pairs, of which some mean the same, some are unrelated and some are nearly
opposite. The sentences that `Replay` trains on are not among them.

Trade-off: forty pairs of our own are quick to encode, but no public benchmark.
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
    if not encoder.sentences.normalised:
        first, second = (
            rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second)
        )
    return np.asarray((first * second).sum(axis=1), dtype=np.float64)


def retention(before: Numbers, after: Numbers) -> dict[str, float]:
    """Return Spearman's rank correlation of both sets of cosines, and their mean distance."""
    order = float(stats.spearmanr(before, after).statistic)
    return {
        "general_rank_correlation": order,
        "general_drift": float(np.abs(after - before).mean()),
    }
