"""Attributes as columns: shared entries, numbers in soft bins, keys of equal weight."""

import json

import numpy as np
import pytest

from models.data.attributes import LIST_WEIGHT, NUMBER_WEIGHT, AttributeColumns

FILMS = [
    {"genres": "Comedy, Drama", "year": "1990"},
    {"genres": "Comedy", "year": "1995"},
    {"genres": "Drama, Western", "year": "2000"},
    {"year": "1992"},
]


def test_entries_that_one_item_alone_has_are_no_columns() -> None:
    columns = AttributeColumns.fit(FILMS)
    assert list(columns.entries["genres"]) == ["Comedy", "Drama"]
    assert list(columns.knots) == ["year"]


def test_every_key_weighs_the_same_over_the_items() -> None:
    columns = AttributeColumns.fit(FILMS)
    encoded = columns.encode(FILMS).toarray()
    genres, years = encoded[:, :2], encoded[:, 2:]
    assert (genres**2).sum() / len(FILMS) == pytest.approx(LIST_WEIGHT)
    assert (years**2).sum() / len(FILMS) == pytest.approx(NUMBER_WEIGHT)


def test_a_number_stands_between_its_bins_and_near_numbers_share_them() -> None:
    columns = AttributeColumns({}, {"year": [1990.0, 2000.0]}, {"year": 1.0})
    encoded = columns.encode([{"year": "1992.5"}, {"year": "1980"}, {}]).toarray()
    np.testing.assert_allclose(encoded, [[0.75, 0.25], [1.0, 0.0], [0.0, 0.0]])


def test_unknown_keys_and_entries_count_nothing() -> None:
    columns = AttributeColumns.fit(FILMS)
    assert columns.encode([{"genres": "Opera", "colour": "red"}]).nnz == 0


def test_a_catalogue_without_attributes_has_no_columns() -> None:
    assert AttributeColumns.fit([{}, {}]).encode([{}]).shape == (1, 0)


def test_columns_survive_json() -> None:
    columns = AttributeColumns.fit(FILMS)
    again = AttributeColumns.from_json(json.loads(json.dumps(columns.to_json())))
    np.testing.assert_array_equal(again.encode(FILMS).toarray(), columns.encode(FILMS).toarray())
