"""What each kind of change to an item means for lists that were made before."""

from typing import Any

import numpy as np
import pytest

from models.data.catalogue_changes import CatalogueChanges, changes
from models.data.interactions import Catalogue

FILM = {
    "title": "Film",
    "text": "of a doctor",
    "attributes": {"genres": "Drama"},
    "available": True,
}
AWAY = {**FILM, "available": False}
ENTERS, LEAVES, REMEMBERED = "entering", "leaving", "remembered"


def catalogue(item: dict[str, Any] | None) -> Catalogue:
    """Return the item "1" and another that never changes."""
    items = {"0": FILM} | ({} if item is None else {"1": item})
    return Catalogue(
        item_ids=tuple(items),
        titles=tuple(one["title"] for one in items.values()),
        texts=tuple(one["text"] for one in items.values()),
        attributes=tuple(one["attributes"] for one in items.values()),
        available=np.array([one["available"] for one in items.values()]),
    )


@pytest.mark.parametrize(
    ("before", "after", "own", "expected"),
    [
        (FILM, FILM, False, ""),
        (None, FILM, False, "entering remembered"),
        (None, FILM, True, "entering remembered"),
        (None, AWAY, False, "remembered"),
        (FILM, None, True, "leaving remembered"),
        (AWAY, None, False, "remembered"),
        (FILM, AWAY, False, "leaving"),
        (AWAY, FILM, False, "entering"),
        (FILM, {**FILM, "text": "of a writer"}, False, "entering leaving remembered"),
        (FILM, {**FILM, "text": "of a writer"}, True, ""),
        (FILM, {**FILM, "attributes": {}}, False, "entering leaving remembered"),
        (FILM, {**FILM, "attributes": {}}, True, ""),
        (FILM, {**FILM, "title": "Movie"}, False, "entering leaving remembered"),
        (FILM, {**FILM, "title": "Movie"}, True, "remembered"),
        (FILM, {**AWAY, "title": "Movie"}, True, "leaving remembered"),
        (AWAY, {**AWAY, "text": "of a writer"}, False, "remembered"),
        (AWAY, {**FILM, "text": "of a writer"}, False, "entering remembered"),
    ],
)
def test_what_a_change_means(
    before: dict[str, Any] | None, after: dict[str, Any] | None, own: bool, expected: str
) -> None:
    found = changes(catalogue(before), catalogue(after), {"1"} if own else set())
    for name in (ENTERS, LEAVES, REMEMBERED):
        assert getattr(found, name) == (frozenset({"1"}) if name in expected else frozenset())


def test_nothing_is_a_change_of_an_empty_catalogue() -> None:
    nothing = Catalogue((), (), (), (), np.zeros(0, dtype=np.bool_))
    assert changes(nothing, nothing, set()) == CatalogueChanges()
