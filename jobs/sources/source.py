"""What a source is, and the sources by name.

- A source is a class with the two methods of `Source`, and a line in SOURCES.
- A name that isn't among them is the path of a folder of files or the URL of a database, of which
  `items=PLACE` takes one table.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from pyspark.sql import SparkSession

from jobs.sources.answers import ActiveLearningSource
from jobs.sources.columns import RawTable
from jobs.sources.folder import NAMED, FolderSource, file_of
from jobs.sources.label_sheet import SHEET
from jobs.sources.made_fields import Made
from jobs.sources.movielens import MovieLens100k, MovieLensLatestSmall
from jobs.sources.places.database import DatabaseSource, is_database
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.paths import local_path
from jobs.warehouse.tables import ACTIVE_LEARNING
from models.errors import InputError


class Source(Protocol):
    """Where tables come from; its constructor raises InputError where there is nothing to read."""

    def fingerprint(self) -> str:
        """Return a hash of the content: the same content is ingested once."""

    def read(self, spark: SparkSession) -> list[RawTable]:
        """Return tables whose columns are text, lazily; `ingest` checks and types them."""


SOURCES: dict[str, Callable[[Warehouse, Path], Source]] = {
    "ml-100k": lambda *_: MovieLens100k(),
    "ml-latest-small": lambda *_: MovieLensLatestSmall(),
    ACTIVE_LEARNING: lambda warehouse, reports: ActiveLearningSource(warehouse, reports / SHEET),
}


def open_source(
    source: str,
    warehouse: Warehouse,
    reports: Path,
    columns: Mapping[str, str | Made] | None = None,
) -> Source:
    """Return the source named `source`, else the folder of that path or the database of that URL.

    A source may need the `warehouse` and the folder `reports`; `columns` says what in files and
    databases is which field of the tables. Raises InputError where there is none of these.
    """
    if source in SOURCES:
        return SOURCES[source](warehouse, reports)
    table, equals, place = source.partition("=")
    if is_database(source):
        return DatabaseSource(source, columns=columns)
    if equals and table in NAMED and is_database(place):
        return DatabaseSource(place, table, columns)
    if equals and table in NAMED:
        return file_of(table, Path(local_path(place)), columns)
    try:
        return FolderSource(Path(local_path(source)), columns)
    except InputError as error:
        raise InputError(f"{error}; or name one of {', '.join(SOURCES)}") from error
