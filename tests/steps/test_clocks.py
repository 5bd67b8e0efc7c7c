"""No step reads the wall clock: the same inputs give the same outputs on any day."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
FILES = sorted(path for folder in ("jobs", "models") for path in (PROJECT / folder).rglob("*.py"))
# two record when something ran; two refuse what is still to come, and change nothing else; one
# removes what killed runs left many days ago, by the times of its files
READERS = {
    "jobs/nights/horizon.py",
    "jobs/sources/arrival/commits.py",
    "jobs/versions/registry.py",
    "jobs/versions/retention.py",
    "jobs/warehouse/lineage.py",
}
OF_MODULE = {"time": {"time", "time_ns", "localtime", "gmtime", "ctime"}}
OF_CLASS = {"now", "utcnow", "today"}
OF_SPARK = {"current_timestamp", "current_date", "unix_timestamp", "localtimestamp"}


def clocks(source: str) -> Iterator[str]:
    """Yield the calls in `source` that read the wall clock, and SQL that does."""
    tree = ast.parse(source)
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in OF_MODULE
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            sql = node.value.lower()
            yield from (name for name in OF_SPARK if name in sql)
            if "now()" in sql:
                yield "now()"
        elif isinstance(node, ast.Call):
            yield from _called(node.func, imported)


def _called(function: ast.expr, imported: dict[str, str]) -> Iterator[str]:
    if isinstance(function, ast.Name):
        name = imported.get(function.id, "")
        if name in OF_MODULE["time"] or function.id in OF_SPARK:
            yield function.id
    elif isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        known = OF_MODULE.get(owner, set()) | OF_CLASS | OF_SPARK
        if function.attr in known:
            yield ast.unparse(function)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_step_reads_the_wall_clock(path: Path) -> None:
    found = set(clocks(path.read_text("utf-8")))
    assert bool(found) == (str(path.relative_to(PROJECT)) in READERS), found


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "from time import time\ntime()",
        "from time import time_ns as ns\nns()",
        "import datetime as dt\ndt.datetime.now(dt.UTC)",
        "from datetime import date\ndate.today()",
        "import pandas as pd\npd.Timestamp.now()",
        "F.current_timestamp()",
        "from pyspark.sql.functions import current_date\ncurrent_date()",
        'spark.sql("SELECT current_timestamp")',
        'sql.run("SELECT now()")',
    ],
)
def test_a_wall_clock_is_seen(source: str) -> None:
    assert list(clocks(source))


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.monotonic()",
        "from time import perf_counter\nperf_counter()",
        "table.time.max()",
        "dt.datetime.fromtimestamp(0, dt.UTC)",
    ],
)
def test_a_duration_is_no_wall_clock(source: str) -> None:
    assert not list(clocks(source))
