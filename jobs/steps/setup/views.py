"""views: print the SQL that makes the two views in the engine of a reader."""

from typing import Any

from jobs.context import Context
from jobs.suggestions import did_you_mean
from jobs.warehouse.views import ENGINES, script
from models.errors import InputError


def run(context: Context, engine: str) -> dict[str, Any]:
    """Return the script for `engine`; InputError where that is none, or a table is missing."""
    if engine not in ENGINES:
        known = f"{did_you_mean(engine, ENGINES)} expected one of {', '.join(ENGINES)}"
        raise InputError(f"--engine {engine!r}: {known.lstrip(', ')}")
    return {"engine": engine, "text": script(context.warehouse, engine)}
