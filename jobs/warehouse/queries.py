"""DuckDB over the tables of a warehouse: for SQL without a JVM."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb

from jobs.warehouse.delta import Warehouse


@contextmanager
def open_tables(
    warehouse: Warehouse, versions: Mapping[str, int | None]
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the tables of `versions`, in that order, each at its version or, for None, the newest.

    Times are told in UTC. A table is pinned when it is opened: what is committed later isn't seen.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, version in versions.items():
            connection.register(name, warehouse.dataset(name, version))
        yield connection
