"""Stages a night: writes scored and kept lists to files, and commits the files.

- A full night scores every user.
- Where an earlier night's lists can be kept and no item could enter them, they are copied, and
  only the other users are scored.
- Where some items could enter kept lists, every user goes through the workers, together with the
  list that may be kept. The workers rank only the users whom such an item could reach.
- The driver gets one row for each file and commits them all at once (`jobs.nights.commit`).

Trade-off: no row of a night can be seen before that commit.
"""

import logging
from dataclasses import dataclass

from pyspark import Accumulator
from pyspark.sql import DataFrame, SparkSession

from jobs.nights.commit import collected, commit_night
from jobs.nights.files import Destination
from jobs.nights.frame import (
    items_frame,
    kept_frame,
    plan_lists,
    task_count,
    user_rows,
    users_frame,
    written_lists,
    written_rows,
)
from jobs.nights.horizon import Horizon
from jobs.nights.incremental import Kept
from jobs.nights.staged import StagedNight
from jobs.spark import progress
from jobs.spark.task_counts import Counts, TaskCounts
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import RECOMMENDATIONS_STAGED
from models.data.interactions import Catalogue
from models.errors import InputError
from models.serving.night import NightPlan

LOGGER = logging.getLogger(__name__)

LONG_LIST = 0.2  # share of the items at which a list in 32 bits costs as much as the 8 bits saved


@dataclass(frozen=True)
class Staged:
    """What was staged: the night's rows, how many users were scored, the table's new version."""

    rows: int
    users_scored: int
    version: int


def stage(
    session: SparkSession,
    warehouse: Warehouse,
    night: StagedNight,
    known: Horizon,
    catalogue: Catalogue,
    users: int,
    plan: NightPlan,
    kept: Kept | None,
) -> Staged:
    """Score the `users` users of the night, except those whose lists are kept, and commit it.

    `known` is what the night may read. The caller holds the table's lock. Raises InputError naming
    a user whose vector isn't finite, and where nobody's list would have an item.
    """
    warehouse.create(RECOMMENDATIONS_STAGED)
    passing = users if kept is None or kept.entering else len(kept.to_score)
    done: Accumulator[Counts] = session.sparkContext.accumulator({}, TaskCounts())
    frame = _frame(session, warehouse, night, known, catalogue, passing, plan, kept, done)
    with progress.shown(lambda: _total(done, 0), passing, len(catalogue.item_ids)):
        files = collected(frame)
    rows = sum(file["rows"] for file in files)
    if not rows:
        raise InputError(
            f"night {night.run_date} would have no rows: each of the {users} users has had every "
            f"available item of {len(catalogue.item_ids)}; ingest new items or users"
        )
    tell_examined(_total(done, 2), _total(done, 1), len(catalogue.item_ids), plan.k)
    version = commit_night(warehouse, night.run_date, files, night.metadata())
    return Staged(rows, _total(done, 1), version)


def tell_examined(examined: int, users: int, items: int, k: int) -> None:
    """Log how many items of a user had to be scored in 32 bits, and warn where they are too many.

    `examined` are those pairs of all `users` who were scored, of `items` each, for lists of `k`.
    """
    if not examined or not users:
        return
    each = examined / users
    LOGGER.info("of %d items, %.0f a user were scored in 32 bits for lists of %d", items, each, k)
    if each > LONG_LIST * items and each > LONG_LIST * 100 * k:
        LOGGER.warning(
            "the first pass in 8 bits left %.0f of %d items a user: the night is exact, but slower "
            "by as much as if there were no first pass. Some items' factors are far longer than "
            "all others'; a model with fewer `factors` may help",
            each,
            items,
        )


def _frame(
    session: SparkSession,
    warehouse: Warehouse,
    night: StagedNight,
    known: Horizon,
    catalogue: Catalogue,
    passing: int,
    plan: NightPlan,
    kept: Kept | None,
    done: Accumulator[Counts],
) -> DataFrame:
    """Return rows about the night's files, FILES_SCHEMA.

    `passing` users go through the workers, who count them in `done`.
    """
    items = items_frame(session, catalogue.item_ids)
    tasks = task_count(passing, session.sparkContext.defaultParallelism)
    path = warehouse.path(RECOMMENDATIONS_STAGED)
    to = Destination(path, night.run_date, night.model_version)
    scored = copied = passing_lists = None
    if kept is not None:
        scored = users_frame(session, kept.to_score)
        copied = kept_frame(session, warehouse, kept, scored)
        if kept.entering:
            passing_lists, scored, copied = copied, None, None
    rows = user_rows(session, warehouse, night.inputs, items, tasks, known, scored, passing_lists)
    files = written_lists(rows, plan, plan_lists(plan), to, done)
    return files if copied is None else files.union(written_rows(copied, to))


def _total(done: Accumulator[Counts], which: int) -> int:
    return sum(counts[which] for counts in list(done.value.values()))
