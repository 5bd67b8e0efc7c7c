"""Exported vectors against sentence-transformers' own, pooled as the encoder's folder says."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from toy_version import manifest

from models.compression.onnx_export import encoder_facts, export_encoder
from models.errors import InputError
from models.network.encoder import TextEncoder
from models.network.loading import load_language_model
from models.network.sentence_config import SentenceConfig
from models.serving.bundle import write_manifest
from models.serving.manifest import TrainedWith
from models.serving.text_vectors import TextVectors
from models.training.weights import ENCODER_WEIGHTS, load_encoder, start_encoder

pytestmark = pytest.mark.training

TEXTS = ["Alien (1979). Horror, science fiction.", "Toy Story", "24 year old male technician", ""]
PROMPTS = {"query": "query: ", "passage": "passage: "}


@pytest.fixture
def folder(tiny_encoder: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def configure(
    folder: Path,
    pooling: dict[str, Any] | None = None,
    modules: tuple[str, ...] = ("Transformer", "Pooling", "Normalize"),
    prompts: dict[str, Any] | None = None,
    transformer: dict[str, Any] | None = None,
) -> None:
    """Write what sentence-transformers writes beside a model."""
    listed = [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind}" if place else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for place, kind in enumerate(modules)
    ]
    files: dict[str, Any] = {
        "modules.json": listed,
        "1_Pooling/config.json": {"word_embedding_dimension": 32, **(pooling or {})},
        "config_sentence_transformers.json": prompts or {},
        "sentence_bert_config.json": {"max_seq_length": 64, **(transformer or {})},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), "utf-8")


def loaded(folder: Path, max_tokens: int = 48) -> TextEncoder:
    return TextEncoder(*load_language_model(str(folder)), max_tokens=max_tokens).eval()


CASES: dict[str, tuple[dict[str, Any], str | None]] = {
    "mean": ({"pooling": {"pooling_mode_mean_tokens": True}}, None),
    "cls": ({"pooling": {"pooling_mode_cls_token": True}}, None),
    "cls, as it is written today": ({"pooling": {"pooling_mode": "cls"}}, None),
    "max": ({"pooling": {"pooling_mode_max_tokens": True}}, None),
    "mean, any length": ({"modules": ("Transformer", "Pooling")}, None),
    "cls, any length": (
        {"pooling": {"pooling_mode": "cls"}, "modules": ("Transformer", "Pooling")},
        None,
    ),
    "prompt": ({"prompts": {"prompts": PROMPTS}}, "passage"),
    "default prompt": (
        {"prompts": {"prompts": {"query": "query: "}, "default_prompt_name": "query"}},
        "query",
    ),
    "the prompt of queries alone": ({"prompts": {"prompts": {"query": "query: "}}}, None),
    "short": ({"transformer": {"max_seq_length": 7}}, None),
    "lower case": ({"transformer": {"do_lower_case": True}}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_vectors_are_those_of_sentence_transformers(
    case: str, folder: Path, tmp_path: Path
) -> None:
    files, prompt = CASES[case]
    configure(folder, **files)
    peer = SentenceTransformer(str(folder), device="cpu")
    wanted = peer.encode(TEXTS, prompt_name=prompt)
    encoder = loaded(folder)
    np.testing.assert_allclose(encoder.vectors(TEXTS), wanted, atol=1e-5)
    exported = export_encoder(encoder, tmp_path, "none")
    np.testing.assert_allclose(TextVectors(exported, 2).encode(TEXTS), wanted, atol=1e-4)


def test_a_folder_that_says_nothing_keeps_mean_and_unit_length(folder: Path) -> None:
    assert loaded(folder).sentences == SentenceConfig("mean", normalised=True, prompt="")


def test_the_packaged_encoder_is_read_from_its_own_files() -> None:
    sentences = load_language_model("all-MiniLM-L6-v2")[2]
    assert sentences == SentenceConfig("mean", normalised=True, prompt="", max_tokens=256)


@pytest.mark.parametrize(("setting", "expected"), [(48, 20), (12, 12)])
def test_the_shorter_of_setting_and_encoder_is_read(
    folder: Path, setting: int, expected: int
) -> None:
    configure(folder, transformer={"max_seq_length": 20})
    assert loaded(folder, setting).max_tokens == expected
    assert loaded(folder, setting).tokenize(["word " * 100]).lengths == [expected]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"pooling": {"pooling_mode": "lasttoken"}}, "its pooling is lasttoken, and only one of"),
        ({"pooling": {"pooling_mode_weightedmean_tokens": True}}, "its pooling is weightedmean"),
        (
            {"pooling": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}},
            "its pooling is cls and mean",
        ),
        ({"modules": ("Transformer", "Pooling", "Dense")}, "lists Transformer, Pooling, Dense"),
        (
            {"pooling": {"include_prompt": False}, "prompts": {"prompts": PROMPTS}},
            "leaves the prompt's tokens out",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused_by_name(
    files: dict[str, Any], reason: str, folder: Path
) -> None:
    configure(folder, **files)
    with pytest.raises(InputError, match=rf"setting `encoder`: '.*encoder': .*{reason}"):
        load_language_model(str(folder))


def test_a_version_carries_its_pooling_and_prompt_on(folder: Path, tmp_path: Path) -> None:
    configure(folder, pooling={"pooling_mode": "cls"}, prompts={"prompts": PROMPTS})
    encoder = loaded(folder)
    version = tmp_path / "version"
    (version / ENCODER_WEIGHTS).parent.mkdir(parents=True)
    save_file(encoder.model.state_dict(), version / ENCODER_WEIGHTS)
    settings = {"encoder": str(folder), "tuning": "full", "tuned_layers": 2, "tuning_rank": 8}
    about = replace(
        manifest("v", []), settings=TrainedWith(settings), encoder=encoder_facts(encoder)
    )
    bundle = write_manifest(version, about)
    wanted = encoder.vectors(TEXTS)
    configure(folder)  # whatever happens to the folder later
    np.testing.assert_allclose(load_encoder(bundle).vectors(TEXTS), wanted, atol=1e-6)
    again = start_encoder(str(version), max_tokens=48)
    np.testing.assert_allclose(again.vectors(TEXTS), wanted, atol=1e-6)
