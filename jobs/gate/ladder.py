"""The rungs of the compression: each stage's encoder, kept until all are measured side by side.

- A stage in between is exported in fp32, so that a rung shows what its stage alone does.

Trade-off: the first and the last rung are always measured; those between cost an export and an
encoding of the whole corpus each, and are left to the setting `compression_ladder`.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jobs.gate.parity import Gate
from models.compression.onnx_export import export_encoder
from models.compression.throughput import measure
from models.data.arrays import Factors
from models.network.encoder import TextEncoder
from models.processors import usable_cores
from models.serving.bundle import ExportedEncoder
from models.serving.text_vectors import Encode, TextVectors


@dataclass(frozen=True)
class Rung:
    """One stage: the encoder's size, its speed, and its ranking by texts alone."""

    name: str
    size: int
    texts_per_second: float
    speedup: float
    ndcg: float
    overlap: float

    def row(self) -> dict[str, Any]:
        """Return the rung by the names of `compression.json`."""
        return {
            "name": self.name,
            "bytes": self.size,
            "texts_per_second": round(self.texts_per_second, 1),
            "speedup": round(self.speedup, 2),
            "ndcg@10": self.ndcg,
            "overlap@10": self.overlap,
        }


class Ladder:
    """Collects encoders and their vectors [t, w] of `texts`, then measures them."""

    def __init__(self, gate: Gate, texts: list[str]) -> None:
        self.threads = usable_cores()
        self.gate = gate
        self._texts = texts
        self._encoders: dict[str, Encode] = {}
        self._sizes: dict[str, int] = {}
        self._vectors: dict[str, Factors] = {}

    def add(self, name: str, size: int, encode: Encode, vectors: Factors) -> None:
        """Put up a rung of `size` bytes whose vectors are there already."""
        self._encoders[name] = encode
        self._sizes[name] = size
        self._vectors[name] = vectors

    def add_stage(self, name: str, encoder: TextEncoder) -> None:
        """Put up a rung for an encoder in PyTorch, as an fp32 graph."""
        with TemporaryDirectory() as scratch:
            self.add_exported(name, export_encoder(encoder, Path(scratch), "none"))

    def add_exported(self, name: str, encoder: ExportedEncoder) -> Factors:
        """Put up a rung for an exported encoder and return its vectors [t, w] of the texts."""
        encode = TextVectors(encoder, self.threads).encode
        vectors = encode(self._texts)
        self.add(name, encoder.graph.stat().st_size, encode, vectors)
        return vectors

    def measured(self) -> list[Rung]:
        """Measure all encoders side by side."""
        found = []
        for name, speed in measure(self._encoders, self._texts).items():
            judged = self.gate.by_text(self._vectors[name])
            ndcg = 0.0 if judged is None else judged.ndcg_shipped
            overlap = 1.0 if judged is None else judged.overlap
            found.append(
                Rung(name, self._sizes[name], speed.texts_per_second, speed.speedup, ndcg, overlap)
            )
        return found
