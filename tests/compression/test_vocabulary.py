"""Vocabulary trimming on the real MiniLM: the corpus reads as before, new words fall apart."""

import logging

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from models.compression.vocabulary import trim_vocabulary
from models.network.encoder import TextEncoder
from models.network.loading import load_language_model

pytestmark = pytest.mark.training

CORPUS = [
    "Toy Story (1995). Directed by John Lasseter.",
    "L'appartement (1996). Directed by Gilles Mimouni. Café, naïve, 東京.",
    "24 year old male technician",
]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(*load_language_model("all-MiniLM-L6-v2"), max_tokens=16).eval()


@pytest.fixture(scope="module")
def trimmed(encoder: TextEncoder) -> TextEncoder:
    return trim_vocabulary(encoder, CORPUS, margin=100)


def test_texts_of_the_corpus_have_the_same_vectors(
    encoder: TextEncoder, trimmed: TextEncoder
) -> None:
    assert trimmed.model.config.vocab_size < 2500 < encoder.model.config.vocab_size
    np.testing.assert_allclose(trimmed.vectors(CORPUS), encoder.vectors(CORPUS), atol=1e-6)


def test_unseen_words_fall_apart_and_are_not_unknown(trimmed: TextEncoder) -> None:
    [ids] = trimmed.tokenize(["Quixotic foxes"]).ids
    pieces = trimmed.tokenizer.convert_ids_to_tokens(ids)
    assert "[UNK]" not in pieces
    spelled = "".join(piece.removeprefix("##") for piece in pieces[1:-1])
    assert spelled == "quixoticfoxes"


def test_special_tokens_and_padding_stay(encoder: TextEncoder, trimmed: TextEncoder) -> None:
    [ids] = trimmed.tokenize([""]).ids
    assert trimmed.tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "[SEP]"]
    assert trimmed.tokenizer.special_tokens_map == encoder.tokenizer.special_tokens_map
    assert trimmed.tokenizer.convert_ids_to_tokens(trimmed.padding) == "[PAD]"


def test_a_large_margin_keeps_everything(encoder: TextEncoder) -> None:
    whole = trim_vocabulary(encoder, CORPUS, margin=1_000_000)
    texts = ["Quixotic foxes"]
    np.testing.assert_allclose(whole.vectors(texts), encoder.vectors(texts), atol=1e-6)


def test_other_vocabularies_are_left_as_they_are(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    merges = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE()))
    other = TextEncoder(encoder.model, merges, encoder.sentences, 16)
    with caplog.at_level(logging.WARNING):
        assert trim_vocabulary(other, CORPUS, 100) is other
    assert "only WordPiece can be trimmed, not BPE" in caplog.text
