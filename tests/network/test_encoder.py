"""The text encoder on the real MiniLM: layers in two halves, padding, and meaning."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2Model

from models.errors import InputError
from models.network.encoder import TextEncoder
from models.network.loading import layers_of, load_language_model
from models.network.trunk import FrozenTrunk

pytestmark = pytest.mark.training

TEXTS = [
    "Star Wars (1977). Action, science fiction.",
    "Alien. Science fiction, horror.",
    "A cook book.",
]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=32).eval()


def test_vectors_have_unit_length_and_tell_meanings_apart(encoder: TextEncoder) -> None:
    vectors = encoder.vectors(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_a_vector_does_not_depend_on_its_batch(encoder: TextEncoder) -> None:
    together = encoder.vectors(TEXTS)
    alone = np.concatenate([encoder.vectors([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("layers", [0, 4, 6])
def test_a_frozen_trunk_and_the_layers_above_make_the_whole(
    encoder: TextEncoder, layers: int
) -> None:
    trunk = FrozenTrunk(encoder, TEXTS, layers)
    hidden, mask = trunk.batch(np.array([2, 0]), torch.device("cpu"))
    with torch.no_grad():
        found = encoder.pooled(hidden, mask, layers).numpy()
    np.testing.assert_allclose(found, encoder.vectors(TEXTS)[[2, 0]], atol=2e-3)


def test_long_texts_are_cut(encoder: TextEncoder) -> None:
    assert encoder.tokenize(["word " * 100]).lengths == [32]


def test_an_encoder_that_is_nowhere_is_named() -> None:
    with pytest.raises(InputError, match=r"setting `encoder`: '\./nowhere' can't be loaded"):
        load_language_model("./nowhere")


def test_a_model_that_is_not_like_bert_is_refused() -> None:
    model = GPT2Model(GPT2Config(vocab_size=10, n_embd=8, n_layer=1, n_head=1))
    with pytest.raises(InputError, match="GPT2Model has no `embeddings`"):
        layers_of(model)


def test_a_local_folder_loads_like_a_package(encoder: TextEncoder, tmp_path: Path) -> None:
    encoder.model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    again = TextEncoder(*load_language_model(str(tmp_path)), max_tokens=32)
    np.testing.assert_allclose(again.vectors(TEXTS[:1]), encoder.vectors(TEXTS[:1]), atol=1e-6)
