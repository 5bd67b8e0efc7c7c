"""What follows what."""

import numpy as np

from models.data.interactions import Interactions
from models.factors.transitions import TransitionOptions, follow_counts, transitions


def test_transitions_point_forward() -> None:
    pair = Interactions(
        np.array([0, 0]), np.array([0, 1]), np.full(2, 5.0), np.array([1.0, 2.0]), 1, 2
    )
    undamped = TransitionOptions(source_damping=0.0, target_damping=0.0)
    matrix = transitions(pair, np.ones(2), undamped).toarray()
    np.testing.assert_allclose(matrix, [[0.0, 1.0], [0.3, 0.0]])


def test_an_interaction_counts_its_grade_on_either_side_and_one_of_zero_is_not_there() -> None:
    three = Interactions(
        np.zeros(3, dtype=np.int64), np.arange(3), np.array([5.0, 2.0, 5.0]), np.arange(3.0), 1, 3
    )
    undamped = TransitionOptions(window=1, backwards=0.0, source_damping=0.0, target_damping=0.0)
    graded = transitions(three, three.grades(4.0, 0.5), undamped).toarray()
    np.testing.assert_allclose(graded, [[0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    ungraded = transitions(three, three.grades(4.0, 0.0), undamped).toarray()
    np.testing.assert_allclose(ungraded, [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])


def test_the_window_ends_where_it_says_and_never_spans_two_users() -> None:
    positives = Interactions(
        np.array([0, 0, 0, 1]), np.array([0, 1, 2, 3]), np.full(4, 5.0), np.arange(4.0), 2, 4
    )
    assert np.argwhere(follow_counts(positives, 1).toarray()).tolist() == [[0, 1], [1, 2]]
    assert np.argwhere(follow_counts(positives, 9).toarray()).tolist() == [[0, 1], [0, 2], [1, 2]]
