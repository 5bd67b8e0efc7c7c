"""What `ingest` is told to read: one place or several, each of all tables or of one.

- A place is a named data set, a folder, or the URL of a database. `items=PLACE` says that it holds
  one table alone, whatever it is called there: a file, a folder of parts, a Delta table.
- `{run_date}` in a place stands for the date of the run, as drops are named.
- Places that have the same table are put together by its columns, as parts of one are.

Trade-off: a row that two places have twice counts as one row told twice, whichever is told last.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.sources.columns import RawTable, union
from jobs.sources.made_fields import Made
from jobs.sources.source import Source, open_source
from jobs.warehouse.delta import Warehouse
from models.errors import InputError

RUN_DATE = "{run_date}"


def open_sources(
    places: Sequence[str],
    warehouse: Warehouse,
    reports: Path,
    columns: Mapping[str, str | Made],
    run_date: str | None,
) -> Source:
    """Return the source of one place, or of several together, as `open_source` knows them.

    `run_date` is YYYY-MM-DD. Raises InputError that names the place where there is nothing to read.
    """
    dated_places = [dated(place, run_date) for place in places]
    found = [open_source(place, warehouse, reports, columns) for place in dated_places]
    return found[0] if len(found) == 1 else SeveralSources(found)


class SeveralSources:
    """The tables of several sources as those of one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def fingerprint(self) -> str:
        """Return a hash of the content of all."""
        hashes = "\n".join(one.fingerprint() for one in self._sources)
        return hashlib.sha256(hashes.encode()).hexdigest()[:16]

    def read(self, spark: SparkSession) -> list[RawTable]:
        """Return the tables, lazily; InputError as the sources raise it."""
        by_name: dict[str, list[RawTable]] = {}
        for source in self._sources:
            for table in source.read(spark):
                by_name.setdefault(table.name, []).append(table)
        return [reduce(_together, tables) for tables in by_name.values()]


def _together(one: RawTable, other: RawTable) -> RawTable:
    said = {**one.said, **other.said}
    frame = union(one.name, [one.origin, other.origin], [one.frame, other.frame], said)
    return replace(
        one,
        origin=f"{one.origin}, {other.origin}",
        frame=frame,
        said=said,
        made={**one.made, **other.made},
        there=one.there | other.there,
    )


def dated(place: str, run_date: str | None) -> str:
    """Return the place with the date of the run in it; InputError where it has no date to take."""
    if RUN_DATE not in place:
        return place
    if run_date is None:
        raise InputError(f"source {place}: {RUN_DATE} stands for --run-date, which isn't given")
    return place.replace(RUN_DATE, run_date)
