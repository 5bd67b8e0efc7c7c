"""What a source is, and how the one that is named is found.

- A source fingerprints its content and reads its tables lazily.
- Packaged data sets have names; anything else is the path of a folder.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pyspark.sql import SparkSession

from jobs.sources.answers import ActiveLearningSource
from jobs.sources.folder import FolderSource
from jobs.sources.label_sheet import SHEET
from jobs.sources.movielens import MovieLens100k, MovieLensLatestSmall
from jobs.sources.validation import RawTable
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import ACTIVE_LEARNING
from models.errors import InputError


class Source(Protocol):
    """Where tables come from."""

    def fingerprint(self) -> str:
        """Return a hash of the content."""

    def read(self, spark: SparkSession) -> list[RawTable]:
        """Return the tables, lazily."""


PACKAGED: dict[str, Callable[[], Source]] = {
    "ml-100k": MovieLens100k,
    "ml-latest-small": MovieLensLatestSmall,
}


def open_source(source: str, warehouse: Warehouse, reports: Path) -> Source:
    """Return a packaged data set, the answers to `active-learning`, or a folder; or InputError.

    The answers are those to the questions in `warehouse`, in the sheet in the folder `reports`.
    """
    if source in PACKAGED:
        return PACKAGED[source]()
    if source == ACTIVE_LEARNING:
        return ActiveLearningSource(warehouse, reports / SHEET)
    try:
        return FolderSource(Path(source))
    except InputError as error:
        raise InputError(
            f"{error}; or name one of {', '.join((*PACKAGED, ACTIVE_LEARNING))}"
        ) from error
