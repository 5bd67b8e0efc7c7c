"""The shipped encoder's numbers: every kind loads and serves on the CPU; the choice is logged."""

import logging
from pathlib import Path

import numpy as np
import pytest

from models.bundle import ENCODER, write_manifest
from models.compress import export_encoder
from models.encoder import TextEncoder, load_language_model
from models.quantisation import choose_quantisation
from models.serving import TextVectors

TEXTS = ["Alien (1979). Horror, science fiction.", "Toy Story", "24 year old male technician", ""]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=32).eval()


@pytest.mark.parametrize(
    ("quantisation", "largest_error", "megabytes"),
    [("none", 1e-5, 95), ("fp16", 0.01, 48), ("int8", 0.5, 26)],
)
def test_every_kind_of_numbers_serves_on_the_cpu(
    encoder: TextEncoder,
    tmp_path: Path,
    quantisation: str,
    largest_error: float,
    megabytes: float,
) -> None:
    export_encoder(encoder, tmp_path, quantisation)
    manifest = {"version": "v", "max_tokens": 32, "text_dim": encoder.width}
    bundle = write_manifest(tmp_path, manifest)
    wanted = encoder.vectors(TEXTS)
    found = TextVectors(bundle, 2).encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)
    assert np.linalg.norm(found - wanted, axis=1).max() < largest_error
    assert (tmp_path / ENCODER).stat().st_size < megabytes * 1e6
    alone = np.concatenate([TextVectors(bundle, 1).encode([text]) for text in TEXTS])
    np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize(
    ("wanted", "device", "chosen"),
    [
        ("auto", "cpu", "int8"),
        ("auto", "cuda", "fp16"),
        ("none", "cuda", "none"),
        ("fp16", "cpu", "fp16"),
    ],
)
def test_the_choice_follows_the_device_and_is_logged(
    wanted: str, device: str, chosen: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert choose_quantisation(wanted, device) == chosen
    assert f"quantisation: {chosen} (setting {wanted}), for scoring on {device}" in caplog.text
