"""Show what changed between two published nights.

Trade-off: both nights are read whole, by DuckDB in this process, as `publish` does.
"""

from dataclasses import asdict
from typing import Any

from jobs.context import Context
from jobs.nights.comparison import compare
from jobs.nights.staged import parse_night
from jobs.reports.text_table import aligned
from jobs.warehouse.tables import RECOMMENDATIONS
from jobs.warehouse.views import connect
from models.errors import InputError

_ITEMS_SHOWN = 10


def run(context: Context, before: str, after: str) -> dict[str, Any]:
    """Compare the nights `before` and `after`; InputError where one has no rows."""
    warehouse = context.warehouse
    dates = parse_night(before, "DATE"), parse_night(after, "DATE")
    warehouse.tables()  # tells where there is no warehouse at all
    there = warehouse.nights(RECOMMENDATIONS)
    for date in dates:
        if date not in there:
            known = ", ".join(map(str, sorted(there))) or "none"
            raise InputError(f"night {date} has no rows in `{RECOMMENDATIONS}`; nights: {known}")
    with connect(warehouse) as tables:
        found = compare(tables, *dates)
    figures = {
        "before": before,
        "after": after,
        **{name: value for name, value in asdict(found).items() if name != "items"},
        "items_entered": len(found.items_entered),
        "items_left": len(found.items_left),
    }
    items = [list(asdict(item).values()) for item in found.items]
    return {
        **figures,
        "items": [asdict(item) for item in found.items],
        "text": "\n\n".join(
            [
                aligned(["figure", "value"], [[name, value] for name, value in figures.items()]),
                aligned(["item_id", "title", "lists before", "after"], items[:_ITEMS_SHOWN]),
            ]
        ),
    }
