"""Quantisation of the shipped encoder: every kind serves on the CPU; the choice is logged."""

import logging
from pathlib import Path

import numpy as np
import pytest

from jobs.gate.quantisation_choice import choose_quantisation
from models.compression.onnx_export import export_encoder
from models.compression.quantisation import smallest_of_the_fast
from models.network.encoder import TextEncoder
from models.network.loading import load_language_model
from models.serving.bundle import ENCODER
from models.serving.text_vectors import TextVectors

pytestmark = pytest.mark.training

TEXTS = ["Alien (1979). Horror, science fiction.", "Toy Story", "24 year old male technician", ""]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=32).eval()


@pytest.mark.parametrize(
    ("quantisation", "largest_error", "megabytes"),
    [("none", 1e-5, 95), ("fp16", 0.01, 48), ("int8", 0.5, 26)],
)
def test_every_kind_of_quantisation_serves_on_the_cpu(
    encoder: TextEncoder,
    tmp_path: Path,
    quantisation: str,
    largest_error: float,
    megabytes: float,
) -> None:
    exported = export_encoder(encoder, tmp_path, quantisation)
    wanted = encoder.vectors(TEXTS)
    found = TextVectors(exported, 2).encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    assert np.linalg.norm(found - wanted, axis=1).max() < largest_error
    assert (tmp_path / ENCODER).stat().st_size < megabytes * 1e6
    alone = np.concatenate([TextVectors(exported, 1).encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(found, alone)


def test_auto_measures_every_kind_and_logs_the_choice(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        chosen, tried = choose_quantisation("auto", encoder, "cpu", TEXTS, threads=1)
    assert [one.kind for one in tried] == ["int8", "fp16", "none"]
    assert all(one.texts_per_second > 0 and one.cosine > 0.9 for one in tried)
    assert chosen in {"int8", "none"}  # halves are converted on the CPU, back and forth
    assert f"quantisation: {chosen} (setting auto), for scoring on cpu" in caplog.text


def test_a_wanted_kind_is_taken_untried(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert choose_quantisation("fp16", encoder, "cuda", TEXTS, threads=1) == ("fp16", [])
    assert "quantisation: fp16 (setting fp16), for scoring on cuda" in caplog.text


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ({"int8": 100.0, "fp16": 40.0, "none": 80.0}, "int8"),
        ({"int8": 20.0, "fp16": 100.0, "none": 60.0}, "fp16"),
        ({"int8": 20.0, "fp16": 95.0, "none": 100.0}, "fp16"),
        ({"int8": 20.0, "fp16": 50.0, "none": 100.0}, "none"),
    ],
)
def test_the_smallest_of_the_fast_is_chosen(speeds: dict[str, float], chosen: str) -> None:
    assert smallest_of_the_fast({"int8": 1, "fp16": 2, "none": 4}, speeds) == chosen
