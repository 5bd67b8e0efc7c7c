"""What the tables say of each other: lineage, published nights, and items that interactions name.

- `runs` numbers its rows by their commits, so a hole in the numbers is a row that was lost, but
  where `maintain` has removed old ones.
- Its rows name versions of the tables; where a table is older than one of them, its newest log
  entries are lost.

Trade-off: what is lost from `runs` and from a table at once leaves no trace here.
"""
# ruff: noqa: S608  (names of tables and columns, nothing that people type)

from collections.abc import Collection, Iterator

import duckdb
from deltalake import DeltaTable

from jobs.health.finding import Finding
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import SUCCEEDED
from jobs.warehouse.pointer import published_nights
from jobs.warehouse.queries import open_tables
from jobs.warehouse.removal.retention import complete_from
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS, RUNS

_VERSIONS = f"""
SELECT input.key, max(input.value) FROM (SELECT unnest(map_entries(inputs)) AS input FROM {RUNS})
GROUP BY ALL"""
_NUMBERS = f"""
SELECT min(sequence), max(sequence), count(DISTINCT sequence), count(sequence) FROM {RUNS}
WHERE sequence >= $1"""
_UNKNOWN = f"""
SELECT count(*), min(item_id) FROM {INTERACTIONS}
WHERE item_id NOT IN (SELECT item_id FROM {ITEMS})"""
# nights that were published last before somebody was forgotten
_BEFORE = f"""
SELECT run_date FROM {RUNS} WHERE step = 'publish' AND status = '{SUCCEEDED}' GROUP BY 1
HAVING coalesce(max(sequence), 0) <
    (SELECT max(sequence) FROM {RUNS} WHERE step = 'forget' AND status = '{SUCCEEDED}')"""
_NIGHTS = f"SELECT run_date, count(*) FROM {RECOMMENDATIONS} GROUP BY 1"


def night_findings(warehouse: Warehouse, sound: Collection[str]) -> Iterator[Finding]:
    """Yield what doesn't fit together; `sound` are the tables that can be read."""
    with open_tables(warehouse, dict.fromkeys(sorted(sound))) as tables:
        if {INTERACTIONS, ITEMS} <= set(sound):
            yield from _unknown_items(tables)
        if RUNS not in sound:
            if RECOMMENDATIONS in sound:
                problem = "it is gone, so that no night is visible"
                yield Finding(f"table `{RUNS}`", problem, "restore it, or publish a night again")
            return
        yield from _lineage(warehouse, tables, sound)
        if RECOMMENDATIONS in sound:
            counts = dict(tables.sql(_NIGHTS).fetchall())
            before = {night for (night,) in tables.sql(_BEFORE).fetchall()}
            yield from _published(warehouse, counts, before)


def _unknown_items(tables: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    count, example = tables.sql(_UNKNOWN).fetchall()[0]
    if count:
        problem = f"{count} rows name items that `{ITEMS}` lacks, such as {example!r}"
        yield Finding(f"table `{INTERACTIONS}`", problem, "nightrank ingest SOURCE")


def _lineage(
    warehouse: Warehouse, tables: duckdb.DuckDBPyConnection, sound: Collection[str]
) -> Iterator[Finding]:
    start = complete_from(DeltaTable(warehouse.path(RUNS)))
    first, last, distinct, count = tables.execute(_NUMBERS, [start]).fetchall()[0]
    if count and (last - first + 1 != distinct or distinct != count):
        problem = f"its rows are numbered {first} to {last}, but there are {distinct} numbers"
        yield Finding(f"table `{RUNS}`", f"{problem} on {count} rows", "restore it from a backup")
    for name, version in tables.sql(_VERSIONS).fetchall():
        if name in sound and warehouse.version(name) < version:
            problem = f"it is at version {warehouse.version(name)}, but a run has seen {version}"
            yield Finding(f"table `{name}`", problem, "restore the newest entries of its log")


def _published(
    warehouse: Warehouse, counts: dict[object, int], before: Collection[object]
) -> Iterator[Finding]:
    """Yield the nights that have other rows than were published.

    Those published `before` somebody was forgotten may have fewer.
    """
    nights = published_nights(warehouse)
    for night, publication in nights.published.items():
        rows = counts.get(night, 0)
        if rows == publication.rows or (not rows and night != nights.visible):
            continue  # `maintain` removes whole nights, never the visible one
        if night in before and 0 < rows < publication.rows:
            continue
        yield Finding(
            f"night {night}",
            f"it has {rows} rows, and {publication.rows} were published",
            f"nightrank publish --run-date {night}, or nightrank rollback",
        )
    for date in sorted(set(map(str, counts)) - set(map(str, nights.published))):
        problem = f"`{RECOMMENDATIONS}` has rows of it, but it was never published"
        yield Finding(f"night {date}", problem, f"nightrank publish --run-date {date}")
