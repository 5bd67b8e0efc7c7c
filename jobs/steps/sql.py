"""Query the tables and the two views with SQL: DuckDB over Delta, no cluster, no JVM.

- Reads only: one statement that selects, describes or explains.
- The connection sees the tables and nothing else: no files, no network, no extensions.

Trade-off: a query runs in this process, on the tables as they were when it started.
"""

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

    Raises InputError with DuckDB's first line where the query is wrong.
    """
    try:
        _check(query)
        with connect(context.warehouse) as tables:
            for setting in _ONLY_TABLES:
                tables.execute(setting)
            result = tables.execute(query)
            columns = [str(column[0]) for column in result.description or []]
            rows = [list(row) for row in result.fetchall()]
    except duckdb.Error as error:
        raise InputError(f"query: {next(iter(str(error).splitlines()), 'failed')}") from error
    return {"columns": columns, "rows": rows, "text": aligned(columns, rows)}


def _check(query: str) -> None:
    statements = duckdb.extract_statements(query)
    if len(statements) != 1:
        raise InputError(f"query: expected one statement, got {len(statements)}")
    if statements[0].type not in _READS:
        kind = statements[0].type.name
        raise InputError(f"query: `nightrank sql` only reads, got a statement of kind {kind}")
