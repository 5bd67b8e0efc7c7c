"""The visible night: which of the published nights readers see.

- Every succeeded run of publish and of rollback is an event, in the order of its commit to `runs`
  (the column `sequence`); what a clock said then doesn't matter.
- `publish` shows its night. `rollback` to a night hides every later one, until it is published
  again.
- The visible night is the newest date that is shown. So publishing an old date never moves it.

Trade-off: the state is derived from all events whenever it is asked for, by one query over a small
table, and so can't differ from the lineage. Runs of releases before 0.3.0 have no sequence; they
come first, by their clocks.
"""
# ruff: noqa: S608  (names of tables and columns, nothing that people type)

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import SUCCEEDED
from jobs.warehouse.queries import open_tables
from jobs.warehouse.tables import RECOMMENDATIONS, RUNS

_ORDER = "sequence NULLS FIRST, finished_at, run_id"
_SHOWN = f"""
SELECT run_date FROM (
    SELECT run_date, min(CASE WHEN step = 'rollback' THEN run_date END) OVER (
        ORDER BY {_ORDER} ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    ) AS earliest_return
    FROM {RUNS} WHERE step IN ('publish', 'rollback') AND status = '{SUCCEEDED}'
) AS events WHERE earliest_return IS NULL OR earliest_return >= run_date"""
_PUBLISHED = f"""
SELECT run_date, model_version, rows FROM {RUNS}
WHERE step = 'publish' AND status = '{SUCCEEDED}' ORDER BY {_ORDER}"""
VISIBLE_NIGHT = f"SELECT max(run_date) FROM ({_SHOWN}) AS shown"


@dataclass(frozen=True)
class Publication:
    """What a night held when it was published last: its model version, and counts by name."""

    model_version: str | None
    counts: Mapping[str, int]

    @property
    def rows(self) -> int:
        """The number of its rows."""
        return self.counts.get(RECOMMENDATIONS, 0)


@dataclass(frozen=True)
class PublishedNights:
    """The nights that were ever published, by date, and the dates of those that are shown."""

    published: dict[dt.date, Publication]
    shown: frozenset[dt.date]

    @property
    def visible(self) -> dt.date | None:
        """The night that readers see, None before the first publish."""
        return max(self.shown, default=None)


def published_nights(warehouse: Warehouse) -> PublishedNights:
    """Return the published nights, from `runs` alone."""
    if not warehouse.exists(RUNS):
        return PublishedNights({}, frozenset())
    with open_tables(warehouse, {RUNS: None}) as connection:
        published = {
            date: Publication(version, counts)
            for date, version, counts in connection.sql(_PUBLISHED).fetchall()
        }
        shown = frozenset(date for (date,) in connection.sql(_SHOWN).fetchall())
    return PublishedNights(published, shown)


def visible_night(connection: duckdb.DuckDBPyConnection) -> dt.date | None:
    """Return the night that readers see, None before the first publish."""
    night: dt.date | None = connection.sql(VISIBLE_NIGHT).fetchall()[0][0]
    return night
