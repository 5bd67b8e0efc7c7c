"""Structured pruning on a tiny encoder whose useless parts are known beforehand."""

import copy
import logging

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from models.distillation import distil, score_metric
from models.encoder import TextEncoder, layers_of, load_language_model
from models.errors import InputError
from models.pooling import fit_alignment
from models.pruning import misfit, prune_layers, prune_units

COLOURS, ANIMALS = ("red", "blue", "green", "black", "white"), ("cat", "dog", "owl", "ox")
TEXTS = [f"{colour} {animal}" for colour in COLOURS for animal in ANIMALS]


@pytest.fixture
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    _, tokenizer = load_language_model("all-MiniLM-L6-v2")
    config = BertConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    config._attn_implementation = "eager"
    return TextEncoder(BertModel(config), tokenizer, 16).eval()


def test_the_layer_that_changes_nothing_leaves_first(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    idle = layers_of(encoder.model)[1]
    with torch.no_grad():
        for part in (idle.attention.output.dense, idle.output.dense):
            part.weight.zero_()
            part.bias.zero_()
    targets = encoder.vectors(TEXTS)
    with caplog.at_level(logging.INFO):
        pruned = prune_layers(encoder, 2, TEXTS, targets, seed=0)
    assert "the layers 1, 3" in caplog.text
    assert len(layers_of(encoder.model)) == 3
    np.testing.assert_allclose(pruned.vectors(TEXTS), targets, atol=1e-4)


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
        prune_layers(encoder, 4, TEXTS, encoder.vectors(TEXTS), seed=0)


def test_a_linear_map_of_the_targets_fits_and_noise_does_not() -> None:
    random = np.random.default_rng(0)
    targets = random.standard_normal((200, 4)).astype(np.float32)
    mixed = targets @ random.standard_normal((4, 4)).astype(np.float32)
    noise = random.standard_normal((200, 4)).astype(np.float32)
    assert misfit(mixed, targets) < 0.05 < 0.9 < misfit(noise, targets)


def test_distillation_brings_the_pruned_encoder_nearer(encoder: TextEncoder) -> None:
    targets = encoder.vectors(TEXTS)
    metric = score_metric(np.eye(16, dtype=np.float32), np.eye(16, dtype=np.float32))
    student = prune_units(encoder, 0.25, 0.25, TEXTS, seed=0)
    before = aligned_cosine(student, targets)
    distil(student, TEXTS, targets, metric, epochs=30, learning_rate=1e-2, seed=0)
    assert 1.0 - aligned_cosine(student, targets) < 0.8 * (1.0 - before)


def aligned_cosine(student: TextEncoder, targets: np.ndarray) -> float:
    vectors = student.vectors(TEXTS)
    weights, bias = fit_alignment(vectors, targets)
    mapped = vectors @ weights + bias
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    return float((mapped * targets).sum(axis=1).mean())


def test_the_metric_of_scores_is_their_mean_square() -> None:
    random = np.random.default_rng(0)
    weights, users, error = (
        random.standard_normal(shape).astype(np.float32) for shape in ((5, 3), (7, 3), (5,))
    )
    felt = ((error @ weights @ users.T) ** 2).mean()
    assert np.square(error @ score_metric(weights, users)).sum() == pytest.approx(felt, rel=1e-4)


def test_pruning_leaves_its_argument_alone(encoder: TextEncoder) -> None:
    before = copy.deepcopy(encoder.model.state_dict())
    prune_layers(encoder, 1, TEXTS, encoder.vectors(TEXTS), seed=0)
    assert all(torch.equal(before[name], now) for name, now in encoder.model.state_dict().items())
