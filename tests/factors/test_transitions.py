"""What follows what."""

import numpy as np

from models.data.interactions import Interactions
from models.factors.transitions import TransitionOptions, follow_counts, transitions


def test_transitions_point_forward() -> None:
    pair = Interactions(
        np.array([0, 0]), np.array([0, 1]), np.full(2, 5.0), np.array([1.0, 2.0]), 1, 2
    )
    matrix = transitions(pair, np.zeros(2), TransitionOptions()).toarray()
    np.testing.assert_allclose(matrix, [[0.0, 1.0], [0.3, 0.0]])


def test_the_window_ends_where_it_says_and_never_spans_two_users() -> None:
    positives = Interactions(
        np.array([0, 0, 0, 1]), np.array([0, 1, 2, 3]), np.full(4, 5.0), np.arange(4.0), 2, 4
    )
    assert np.argwhere(follow_counts(positives, 1).toarray()).tolist() == [[0, 1], [1, 2]]
    assert np.argwhere(follow_counts(positives, 9).toarray()).tolist() == [[0, 1], [0, 2], [1, 2]]
