"""Texts a second of several encoders, measured as in serving: tokenised, one text at a time.

- Rounds alternate between the encoders, so that a busy machine slows all of them alike; the
  speed-up is the median of the rounds' ratios.

Trade-off: a sample of the texts, evenly spread over their lengths, instead of all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch

from models.data.arrays import Factors
from models.network.encoder import TextEncoder
from models.serving.text_vectors import Encode

SAMPLE, ROUNDS = 48, 5


@dataclass(frozen=True)
class Throughput:
    """Texts a second, and the speed-up over the first encoder."""

    texts_per_second: float
    speedup: float


def eager(encoder: TextEncoder, threads: int) -> Encode:
    """Return the encoding by PyTorch in eager mode, one text at a time as in serving."""

    def encode(texts: Sequence[str]) -> Factors:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return encoder.vectors(texts, batch=1)
        finally:
            torch.set_num_threads(before)

    return encode


def measure(encoders: Mapping[str, Encode], texts: Sequence[str]) -> dict[str, Throughput]:
    """Return the throughput of each encoder by name; the first is the baseline of the speed-ups.

    `texts` are distinct.
    """
    by_length = sorted(texts, key=len)
    rows = np.linspace(0, len(by_length) - 1, min(SAMPLE, len(by_length))).astype(int)
    sample = [by_length[row] for row in np.unique(rows)]
    seconds = {name: np.zeros(ROUNDS) for name in encoders}
    for encode in encoders.values():
        encode(sample[-8:])
    for round_ in range(ROUNDS):
        for name, encode in encoders.items():
            started = perf_counter()
            encode(sample)
            seconds[name][round_] = perf_counter() - started
    first = next(iter(seconds.values()))
    return {
        name: Throughput(len(sample) / float(np.median(taken)), float(np.median(first / taken)))
        for name, taken in seconds.items()
    }
