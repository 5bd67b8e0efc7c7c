"""Which numbers the shipped encoder gets: measured on the device that will score.

- `auto` exports the encoder with every kind of numbers, encodes the same texts with each in turns,
  and takes the smallest file among those that are nearly as fast as the fastest: int8 is slower
  than fp32 on many GPUs, and a busy machine must not decide between equals.

Trade-off: the machine that exports has to be like the one that scores; elsewhere the setting
`quantisation` names the kind.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.compression.onnx_export import export_encoder
from models.compression.quantisation import KINDS, smallest_of_the_fast
from models.compression.throughput import Encode, measure
from models.network.encoder import TextEncoder
from models.serving.text_vectors import TextVectors

LOGGER = logging.getLogger("nightrank.export")


@dataclass(frozen=True)
class Numbers:
    """One kind of numbers: the encoder's size, its speed, and its mean cosine to fp32."""

    kind: str
    size: int
    texts_per_second: float
    cosine: float


def chosen_numbers(
    wanted: str, encoder: TextEncoder, device: str, texts: list[str], threads: int
) -> tuple[str, list[Numbers]]:
    """Return the kind of numbers, `wanted` or for "auto" the best on `device`, and what was tried.

    Nothing is tried where a kind is wanted.
    """
    found = _tried(encoder, device, texts, threads) if wanted == "auto" else []
    sizes = {one.kind: one.size for one in found}
    speeds = {one.kind: one.texts_per_second for one in found}
    chosen = smallest_of_the_fast(sizes, speeds) if found else wanted
    for one in found:
        LOGGER.info(
            "quantisation %s on %s: %.1f MB, %.0f texts a second, cosine to fp32 %.4f",
            one.kind, device, one.size / 1e6, one.texts_per_second, one.cosine,
        )  # fmt: skip
    LOGGER.info("quantisation: %s (setting %s), for scoring on %s", chosen, wanted, device)
    return chosen, found


def _tried(encoder: TextEncoder, device: str, texts: list[str], threads: int) -> list[Numbers]:
    encoders: dict[str, Encode] = {}
    sizes = {}
    for kind in KINDS:
        with TemporaryDirectory() as scratch:
            exported = export_encoder(encoder, Path(scratch), kind)
            encoders[kind] = TextVectors(exported, threads, device).encode
            sizes[kind] = exported.graph.stat().st_size
    some = texts[:: -(-len(texts) // 256)]
    exact = encoders["none"](some)
    return [
        Numbers(
            kind,
            sizes[kind],
            speed.texts_per_second,
            float(np.mean((encoders[kind](some) * exact).sum(axis=1))),
        )
        for kind, speed in measure(encoders, texts).items()
    ]
