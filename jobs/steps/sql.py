"""Query the tables and the two views with SQL: DuckDB over Delta, no cluster, no JVM.

- Reads only: one statement that selects, describes or explains.
- The connection sees the tables and nothing else: no files, no network, no extensions.
- Time, memory and rows of a query are bounded by settings.

Trade-off: a query runs in this process, on the tables as they were when it started.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from jobs.context import Context
from jobs.reports.text_table import aligned
from jobs.warehouse.views import connect
from models.errors import InputError

_READS = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.PRAGMA}
_ONLY_TABLES = (
    "SET enable_external_access = false",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET lock_configuration = true",
)


def run(context: Context, query: str) -> dict[str, Any]:
    """Return the columns and rows of `query`, with an aligned table as `text`.

    Raises InputError with DuckDB's first line where the query is wrong, and where it needs more
    time, memory or rows than the settings allow.
    """
    settings = context.settings
    try:
        _check(query)
        with connect(context.warehouse) as tables:
            for setting in (f"SET memory_limit = '{settings.sql_memory_mb}MB'", *_ONLY_TABLES):
                tables.execute(setting)
            with _stopped_after(settings.sql_seconds, tables):
                result = tables.execute(query)
                columns = [str(column[0]) for column in result.description or []]
                rows = [list(row) for row in result.fetchmany(settings.sql_rows + 1)]
    except duckdb.InterruptException as error:
        raise InputError(
            f"query: stopped after {settings.sql_seconds:g} s, setting `sql_seconds`"
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise InputError(
            f"query: needs more than {settings.sql_memory_mb} MB, setting `sql_memory_mb`"
        ) from error
    except duckdb.Error as error:
        if "reading the stream" in str(error):  # of a table that is damaged; the query is right
            raise
        raise InputError(f"query: {next(iter(str(error).splitlines()), 'failed')}") from error
    if len(rows) > settings.sql_rows:
        raise InputError(
            f"query: has more than {settings.sql_rows} rows, setting `sql_rows`: add a LIMIT"
        )
    return {"columns": columns, "rows": rows, "text": aligned(columns, rows)}


@contextmanager
def _stopped_after(seconds: float, tables: duckdb.DuckDBPyConnection) -> Iterator[None]:
    timer = threading.Timer(seconds, tables.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check(query: str) -> None:
    statements = duckdb.extract_statements(query)
    if len(statements) != 1:
        raise InputError(f"query: expected one statement, got {len(statements)}")
    if statements[0].type not in _READS:
        kind = statements[0].type.name
        raise InputError(f"query: `nightrank sql` only reads, got a statement of kind {kind}")
