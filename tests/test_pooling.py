"""The map of the encoder's tail: it undoes a turned space and learns no small corpus by heart."""

import numpy as np

from models.pooling import fit_alignment


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_a_turned_and_shifted_space_is_turned_back() -> None:
    vectors, turn = normal(0, 400, 8), np.linalg.qr(normal(1, 8, 8))[0]
    targets = vectors @ turn + 0.3
    weights, bias = fit_alignment(vectors, targets)
    np.testing.assert_allclose(vectors @ weights + bias, targets, atol=0.02)


def test_noise_is_not_learned_by_heart() -> None:
    vectors, targets = normal(2, 60, 64), normal(3, 60, 64)
    weights, bias = fit_alignment(vectors, targets)
    error = np.square(vectors @ weights + bias - targets).mean()
    assert error > 0.5 * np.square(targets - targets.mean(axis=0)).mean()


def test_equal_vectors_are_left_alone() -> None:
    vectors = normal(4, 50, 8)
    weights, bias = fit_alignment(vectors, vectors)
    np.testing.assert_allclose(weights, np.eye(8), atol=1e-5)
    np.testing.assert_allclose(bias, 0.0, atol=1e-5)
