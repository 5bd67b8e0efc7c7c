"""The text map: ridge regression in its dual form, equal to the primal one."""

import numpy as np
from scipy import sparse

from models.factors.text_map import PENALTY, content_features, solve_text_map


def test_the_dual_solution_is_that_of_the_primal() -> None:
    random = np.random.default_rng(1)
    vectors = random.standard_normal((30, 5)).astype(np.float32)
    columns = sparse.csr_array(random.random((30, 4)) * (random.random((30, 4)) < 0.5))
    targets = random.standard_normal((30, 3)).astype(np.float32)
    known = np.arange(30) < 22
    solved = solve_text_map(vectors, columns, targets, known)
    features = content_features(vectors, columns).toarray().astype(np.float64)
    mean = targets[known].mean(axis=0)
    gram = features[known].T @ features[known] + PENALTY * np.eye(9)
    primal = np.linalg.solve(gram, features[known].T @ (targets[known] - mean))
    expected = features @ primal + mean
    found = vectors @ solved.weights + solved.bias + columns @ solved.attributes
    np.testing.assert_allclose(found, expected, atol=1e-4)
