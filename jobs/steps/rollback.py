"""Point the views at an earlier night, without touching a row of it.

- The nights to choose from are those in `recommendations`: every one of them passed its audit.
- A succeeded run of rollback is the new pointer; a later publish moves it on again.

Trade-off: nothing is deleted, so that rolling forward again is as cheap.
"""
# ruff: noqa: S608  (names of tables and checked dates, nothing that people type)

from typing import Any

from jobs.context import Context
from jobs.nights.staged import parse_night
from jobs.warehouse.tables import RECOMMENDATIONS
from jobs.warehouse.views import connect, visible_night
from models.errors import InputError


def run(context: Context, to: str | None = None) -> dict[str, Any]:
    """Make the night `to` visible, by default the newest one before the visible night.

    Raises InputError where there is no such published night.
    """
    wanted = None if to is None else parse_night(to, "--to")
    warehouse = context.warehouse
    warehouse.tables()  # refuses a folder without any before the lock makes one
    # until the run is recorded, so that `maintain` doesn't remove the night in between
    with warehouse.lock(RECOMMENDATIONS), context.recorded("rollback", wanted) as record:
        with connect(warehouse) as tables:
            current = visible_night(tables)
            rows = tables.sql(
                f"SELECT run_date, max_by(model_version, rank), count(*) FROM {RECOMMENDATIONS} "
                "GROUP BY run_date ORDER BY run_date"
            ).fetchall()
        if current is None:
            raise InputError("no night is published yet: run `nightrank publish` first")
        nights = {date: (version, count) for date, version, count in rows}
        earlier = [date for date in nights if date < current]
        if wanted is None and not earlier:
            raise InputError(f"no night before {current} is published: name one with --to")
        target = earlier[-1] if wanted is None else wanted
        if target not in nights:
            known = ", ".join(map(str, nights))
            raise InputError(f"--to {target}: that night isn't published; published: {known}")
        record.run_date, (record.model_version, count) = target, nights[target]
        record.inputs = {RECOMMENDATIONS: warehouse.version(RECOMMENDATIONS)}
        record.rows = {RECOMMENDATIONS: count}
    return {
        "visible_night": target.isoformat(),
        "before": current.isoformat(),
        "model_version": record.model_version,
        "rows": count,
    }
