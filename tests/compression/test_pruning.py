"""Structured pruning on a tiny encoder whose useless parts are known beforehand."""

import copy
import logging

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from models.compression.distillation import distil, score_metric
from models.compression.pruning import prune_layers, prune_units
from models.errors import InputError
from models.network.encoder import TextEncoder
from models.network.loading import layers_of, load_language_model

pytestmark = pytest.mark.training

COLOURS, ANIMALS = ("red", "blue", "green", "black", "white"), ("cat", "dog", "owl", "ox")
TEXTS = [f"{colour} {animal}" for colour in COLOURS for animal in ANIMALS]


@pytest.fixture
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    _, tokenizer, sentences = load_language_model("all-MiniLM-L6-v2")
    config = BertConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return TextEncoder(BertModel(config), tokenizer, sentences, 16).eval()


@pytest.mark.parametrize(("keep", "kept"), [(3, "1, 2, 3"), (2, "1, 3"), (1, "1")])
def test_the_layers_that_stay_are_evenly_spaced(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture, keep: int, kept: str
) -> None:
    with caplog.at_level(logging.INFO):
        pruned = prune_layers(encoder, keep)
    assert f"keeps the layers {kept}\n" in caplog.text
    assert (len(layers_of(pruned.model)), len(layers_of(encoder.model))) == (keep, 3)
    first, last = (layers_of(one.model)[-1].output.dense.weight for one in (encoder, pruned))
    assert torch.equal(first, last) == (keep > 1)


def test_heads_and_units_that_add_nothing_leave_without_a_trace(encoder: TextEncoder) -> None:
    with torch.no_grad():
        for layer in layers_of(encoder.model):
            layer.attention.output.dense.weight[:, 4:12] = 0.0  # the second and third head
            layer.output.dense.weight[:, ::2] = 0.0
    before = encoder.vectors(TEXTS)
    pruned = prune_units(encoder, 0.5, 0.5, TEXTS, seed=0)
    for layer in layers_of(pruned.model):
        assert layer.attention.self.num_attention_heads == 2
        assert layer.intermediate.dense.weight.shape == (12, 16)
    np.testing.assert_allclose(pruned.vectors(TEXTS), before, atol=0.02)
    np.testing.assert_array_equal(encoder.vectors(TEXTS), before)


def test_at_least_one_of_each_stays(encoder: TextEncoder) -> None:
    pruned = prune_units(encoder, 0.01, 0.01, TEXTS, seed=0)
    layer = layers_of(pruned.model)[0]
    assert layer.attention.self.num_attention_heads == 1
    assert layer.intermediate.dense.weight.shape == (1, 16)


def test_more_layers_than_there_are_is_an_error(encoder: TextEncoder) -> None:
    with pytest.raises(InputError, match="setting `keep_layers`: 4, but the encoder has 3"):
        prune_layers(encoder, 4)


def test_distillation_brings_the_pruned_encoder_nearer(encoder: TextEncoder) -> None:
    targets = encoder.vectors(TEXTS)
    metric = score_metric(np.eye(16, dtype=np.float32), np.eye(16, dtype=np.float32))
    student = prune_units(encoder, 0.25, 0.25, TEXTS, seed=0)
    before = missed(student, targets)
    distil(student, encoder, TEXTS, metric, visits=600, learning_rate=1e-2, seed=0)
    assert missed(student, targets) < 0.6 * before


@pytest.mark.parametrize(("visits", "passes"), [(1, 1), (40, 2), (60, 3), (200, 10), (36_000, 100)])
def test_few_texts_are_distilled_in_a_bounded_number_of_passes(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture, visits: int, passes: int
) -> None:
    """Ten steps are the number at which the schedule used to divide by zero."""
    metric = np.eye(16, dtype=np.float32)
    student = prune_layers(encoder, 1)
    with caplog.at_level(logging.INFO):
        distil(student, encoder, TEXTS, metric, visits, 1e-3, seed=0)
    assert caplog.text.count("distillation pass") == passes
    assert np.isfinite(student.vectors(TEXTS)).all()


def test_an_encoder_says_how_many_pieces_of_a_text_it_does_not_know(encoder: TextEncoder) -> None:
    texts = ["Green tea", "Grosse Tasse aus Steingut", "紫砂茶壶、手工制作", ""]
    known, german, chinese, empty = encoder.unknown_shares(texts)
    assert (known, german, empty) == (0, 0, 0)
    assert chinese > 0.5


def test_no_pass_of_distillation_changes_nothing(encoder: TextEncoder) -> None:
    before = encoder.vectors(TEXTS)
    student = copy.deepcopy(encoder)
    distil(student, encoder, TEXTS, np.eye(16, dtype=np.float32), 0, 1e-2, seed=0)
    np.testing.assert_array_equal(student.vectors(TEXTS), before)


def missed(student: TextEncoder, targets: np.ndarray) -> float:
    return float(np.square(student.vectors(TEXTS) - targets).sum(axis=1).mean())


def test_the_metric_of_scores_is_their_mean_square() -> None:
    random = np.random.default_rng(0)
    weights, users, error = (
        random.standard_normal(shape).astype(np.float32) for shape in ((5, 3), (7, 3), (5,))
    )
    felt = ((error @ weights @ users.T) ** 2).mean()
    assert np.square(error @ score_metric(weights, users)).sum() == pytest.approx(felt, rel=1e-4)


def test_pruning_leaves_its_argument_alone(encoder: TextEncoder) -> None:
    before = copy.deepcopy(encoder.model.state_dict())
    prune_layers(encoder, 1)
    assert all(torch.equal(before[name], now) for name, now in encoder.model.state_dict().items())
