"""Point the views at an earlier night, without touching a row of it, and go back to its model.

- The nights to choose from are those that were published and are still in `recommendations`. By
  default it is the newest one before the visible night that no rollback has left behind.
- A succeeded run of rollback is the new pointer (`jobs.warehouse.pointer`). The nights after it are
  hidden until they are published again, or named by `--to`.
- The model version of that night becomes the champion again, so that the nights to come are made
  as it was, until someone promotes; `--keep-model` leaves the champion as it is.
- It reads `runs`, and the log of `recommendations`. Whatever else is damaged doesn't stop it: where
  that model version is gone, or MLflow can't be asked, the champion stays and a warning says so.
- Run again, it goes back once: with `--from` where that night isn't visible any more, and in
  Airflow where the same task of the same run has gone back already.

Trade-off: without `--from` a rollback can't know that an earlier one was killed before it could
say what it did.
"""

import datetime as dt
import logging
import os
from hashlib import sha256
from typing import Any

from jobs.context import Context
from jobs.nights.staged import parse_night
from jobs.versions.registry import CHAMPION, Registry
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import succeeded_before
from jobs.warehouse.pointer import Publication, PublishedNights, published_nights
from jobs.warehouse.tables import RECOMMENDATIONS, RUNS
from models.errors import InputError

LOGGER = logging.getLogger(__name__)

_NONE = "no night is published yet: run `nightrank publish` first"
_AIRFLOW_TASK = ("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_DAG_RUN_ID", "AIRFLOW_CTX_TASK_ID")


def run(
    context: Context, to: str | None = None, leaving: str | None = None, keep_model: bool = False
) -> dict[str, Any]:
    """Make the night `to` visible, by default the newest shown one before the visible night.

    The night's model becomes the champion, unless `keep_model`. Where `leaving` isn't visible any
    more, nothing changes. Raises InputError where there is no such published night, or a later one
    than `leaving` is visible.
    """
    wanted = None if to is None else parse_night(to, "--to")
    left = None if leaving is None else parse_night(leaving, "--from")
    warehouse = context.warehouse
    if not warehouse.exists(RUNS):
        warehouse.tables()  # tells where there is no warehouse at all
        raise InputError(_NONE)
    # until the run is recorded, so that `maintain` doesn't remove the night in between
    with warehouse.lock(RECOMMENDATIONS), context.recorded("rollback", wanted) as record:
        nights = published_nights(warehouse)
        current = _visible(nights)
        key = _airflow_task()
        done = succeeded_before(warehouse, key) or _has_left(left, current, nights)
        target = current if done else _target(warehouse, nights, current, wanted)
        found = nights.published.get(target, Publication(None, {}))
        record.run_date, record.model_version = target, found.model_version
        record.inputs = {RECOMMENDATIONS: warehouse.version(RECOMMENDATIONS)}
        record.rows = {RECOMMENDATIONS: found.rows}
        record.run_id = record.run_id if done else key or record.run_id
        champion = "kept"
        if not (done or keep_model):  # before the row of the run: a killed one is done again
            champion = _return_to(context.registry, found.model_version)
        record.message = f"champion: {champion}"
    return {
        "visible_night": target.isoformat(),
        "before": current.isoformat(),
        "model_version": found.model_version,
        "champion": champion,
        "rows": found.rows,
    }


def _visible(nights: PublishedNights) -> dt.date:
    if nights.visible is None:
        raise InputError(_NONE)
    return nights.visible


def _return_to(registry: Registry, version: str | None) -> str:
    """Make `version` the champion where that can be, and return what was done in words."""
    if version is None:
        return "kept: that night doesn't say by which model it was made"
    try:
        if not registry.candidate(version).exported:
            raise InputError(f"model version {version} is not exported")
        registry.set_alias(CHAMPION, version)
    except Exception as error:  # noqa: BLE001  (whatever MLflow's store raises: the view goes back)
        LOGGER.warning("the champion stays, since %s can't take its place: %s", version, error)
        return f"kept: {version} can't take its place"
    return version


def _has_left(left: dt.date | None, current: dt.date, nights: PublishedNights) -> bool:
    """Return whether a rollback from the night `left` has been done already."""
    if left is None or left == current:
        return False
    if left > current and left in nights.published:
        return True
    raise InputError(f"--from {left}: the visible night is {current}: name that one")


def _target(
    warehouse: Warehouse, nights: PublishedNights, current: dt.date, wanted: dt.date | None
) -> dt.date:
    there = nights.published.keys() & warehouse.nights(RECOMMENDATIONS)
    earlier = [night for night in nights.shown & there if night < current]
    if wanted is None and not earlier:
        raise InputError(f"no night before {current} is published: name one with --to")
    target = max(earlier) if wanted is None else wanted
    if target not in there:
        known = ", ".join(map(str, sorted(there)))
        raise InputError(f"--to {target}: that night isn't published; published: {known}")
    return target


def _airflow_task() -> str | None:
    """Return a run_id that every try of one Airflow task has, None outside of Airflow."""
    named = [os.environ.get(name) for name in _AIRFLOW_TASK]
    return sha256(repr(named).encode()).hexdigest()[:32] if all(named) else None
