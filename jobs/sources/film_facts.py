"""Facts about films from Wikidata (CC0, in the package bokeh-sampledata): director, writer, cast.

- A film is found by title and year. Case, accents, punctuation and a leading article are ignored,
  a title in parentheses is tried as well, and the year may be off by one.
- Of several films the one of the nearest year is taken, then the one that Wikidata lists first.

Trade-off: no fuzzy matching: some films aren't found, but hardly ever is a wrong one taken.
"""

import importlib.util
import re
import sqlite3
import unicodedata
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models.errors import InputError

_TRAILING_ARTICLE = re.compile(
    r"^(.*), (the|a|an|le|la|les|l'|il|lo|i|el|los|las|der|die|das|den|det|een|un|une|o|os)$",
    re.IGNORECASE,
)
_LEADING_ARTICLE = re.compile(r"^(the|a|an) (?=.)")
_YEARS_OFF = (0, 1, -1)


@dataclass(frozen=True)
class Film:
    """One film's facts; lists of names are joined by ", "; empty where Wikidata has nothing."""

    genres: str
    director: str
    writer: str
    cast: str
    country: str
    language: str


class FilmFacts:
    """The films of Wikidata by normal title and year."""

    def __init__(self, films: dict[tuple[str, int], Film]) -> None:
        self._films = films

    def find(self, title: str, year: int | None) -> Film | None:
        """Return the film called `title` (an article may stand last) of about `year`, or None."""
        if year is None:
            return None
        keys = [normal_title(name) for name in _names(title)]
        found = (self._films.get((key, year + off)) for off in _YEARS_OFF for key in keys if key)
        return next((film for film in found if film is not None), None)


@cache
def film_facts() -> FilmFacts:
    """Return the films of the installed bokeh-sampledata; InputError when it is absent."""
    uri = f"{database().as_uri()}?mode=ro&immutable=1"
    query = (
        'SELECT Title, Year, Genre, Director, Writer, "Cast", Country, Language'
        " FROM omdb ORDER BY ID"
    )
    films: dict[tuple[str, int], Film] = {}
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        for title, year, *facts in connection.execute(query):
            if title and year:
                film = Film(*(fact or "" for fact in facts))
                films.setdefault((normal_title(title), int(year)), film)
    return FilmFacts(films)


def database() -> Path:
    """Return the SQLite file of the films, without importing Bokeh."""
    return package_folder("bokeh_sampledata") / "_data" / "movies.db"


def package_folder(package: str) -> Path:
    """Return the folder of an installed package, without importing it; InputError when absent."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package {package} is not installed: run `make setup`")
    return Path(spec.submodule_search_locations[0])


def readable_title(title: str) -> str:
    """Return `title` with its article in front: "Usual Suspects, The" -> "The Usual Suspects"."""
    main, parenthesis, rest = title.partition(" (")
    found = _TRAILING_ARTICLE.match(main.strip())
    if found is None:
        return title.strip()
    joint = "" if found[2].endswith("'") else " "
    return f"{found[2]}{joint}{found[1]}{parenthesis}{rest}".strip()


def normal_title(title: str) -> str:
    """Return `title` in lower case letters and digits, without accents and English article."""
    plain = unicodedata.normalize("NFKD", title.casefold().replace("&", " and "))
    letters = "".join(mark for mark in plain if not unicodedata.combining(mark))
    words = re.sub(r"[^\w]+", " ", letters.replace("'", "").replace("\u2019", "")).strip()
    return _LEADING_ARTICLE.sub("", words)


def _names(title: str) -> list[str]:
    """Return the titles in `title`: the main one, then those in parentheses."""
    main, *others = re.split(r"\s*[()]\s*", title)
    names = [main, *(re.sub(r"^a\.?k\.?a\.? ", "", other) for other in others if other)]
    return [readable_title(name) for name in names]
