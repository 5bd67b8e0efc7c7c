"""Negative values, such as those of returns, count nothing beside likes and views."""

import numpy as np

from models.data.interactions import History, Interactions
from models.data.matrices import pad_histories

VALUES = np.array([5.0, 1.0, -5.0, 0.0])


def test_a_return_counts_nothing_in_fits() -> None:
    rows = np.arange(4)
    data = Interactions(0 * rows, rows, VALUES, rows.astype(float), 1, 4)
    assert data.grades(4.0, 0.5).tolist() == [1.0, 0.5, 0.0, 0.5]
    assert data.grades(-9.0, 0.5).tolist() == [1.0] * 4  # where all values are likes


def test_a_return_says_nothing_of_other_items() -> None:
    history = History(np.arange(4), VALUES, np.arange(4.0))
    items, ages, liked = pad_histories([history], 4.0, 5, padding=9)
    assert items.tolist() == [[3, 9, 1, 0, 9]]
    assert liked.tolist() == [[0, 0, 0, 1, 0]]
    assert ages.tolist() == [[0, 1, 2, 3, 4]]
    assert pad_histories([history], -9.0, 4, 9)[0].tolist() == [[3, 2, 1, 0]]
