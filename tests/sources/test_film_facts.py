"""Films found by title and year, and what MovieLens's sources make of them."""

import json

import pytest

from jobs.sources.film_facts import Film, FilmFacts, film_facts, normal_title, readable_title
from jobs.sources.movielens import MovieLens100k


@pytest.mark.parametrize(
    ("title", "readable", "normal"),
    [
        ("Usual Suspects, The", "The Usual Suspects", "usual suspects"),
        ("Postino, Il", "Il Postino", "il postino"),
        ("Amélie & Léa", "Amélie & Léa", "amelie and lea"),
        ("Horseman, The (Hussard, Le)", "The Horseman (Hussard, Le)", "horseman hussard le"),
        ("L'Avventura", "L'Avventura", "lavventura"),
        ("The", "The", "the"),
    ],
)
def test_titles(title: str, readable: str, normal: str) -> None:
    assert readable_title(title) == readable
    assert normal_title(readable) == normal


def test_the_nearest_year_wins() -> None:
    early, late = (Film("", name, "", "", "", "") for name in ("early", "late"))
    facts = FilmFacts({("heat", 1994): early, ("heat", 1996): late, ("seul", 1995): early})
    assert facts.find("Heat", 1995) is late
    assert facts.find("Heat", 1994) is early
    assert facts.find("Heat", 1993) is early
    assert facts.find("Heat", 1998) is None
    assert facts.find("Heat", None) is None
    assert facts.find("Alone (Seul)", 1996) is early


def test_four_films_of_five_are_found() -> None:
    films = MovieLens100k().films()
    found = [film for film in films if "director" in json.loads(film["attributes"])]
    assert len(films) == 1682
    assert len(found) > 0.8 * len(films)
    by_id = {film["item_id"]: film for film in films}
    assert by_id["267"]["title"] == "unknown"
    assert by_id["1412"]["title"].endswith("Great Giving (1995)")
    assert film_facts() is film_facts()  # read once
