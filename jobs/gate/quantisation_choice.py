"""The choice of the shipped encoder's quantisation, measured on the device that will score.

- `auto` exports the encoder with every kind of quantisation, encodes the same texts with each in
  turns, and takes the smallest file among those that are nearly as fast as the fastest: int8 is
  slower than fp32 on many GPUs, and between kinds of equal speed a busy machine must not decide.

Trade-off: the machine that exports has to be like the one that scores; where it isn't, name a kind
with the setting `quantisation`.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from models.compression.onnx_export import export_encoder
from models.compression.quantisation import KINDS, smallest_of_the_fast
from models.compression.throughput import measure
from models.evaluation.parity import mean_cosine
from models.network.encoder import TextEncoder
from models.serving.text_vectors import Encode, TextVectors

LOGGER = logging.getLogger("nightrank.export")


@dataclass(frozen=True)
class MeasuredQuantisation:
    """One kind of quantisation: the file's bytes, its speed, and its mean cosine to fp32."""

    kind: str
    size: int
    texts_per_second: float
    cosine: float


def choose_quantisation(
    wanted: str, encoder: TextEncoder, device: str, texts: list[str], threads: int
) -> tuple[str, list[MeasuredQuantisation]]:
    """Return the kind to export, `wanted` or for "auto" the best on `device`, and all measured.

    Nothing is measured where `wanted` names a kind.
    """
    found = _measured(encoder, device, texts, threads) if wanted == "auto" else []
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


def _measured(
    encoder: TextEncoder, device: str, texts: list[str], threads: int
) -> list[MeasuredQuantisation]:
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
        MeasuredQuantisation(
            kind,
            sizes[kind],
            speed.texts_per_second,
            mean_cosine(encoders[kind](some), exact),
        )
        for kind, speed in measure(encoders, texts).items()
    ]
