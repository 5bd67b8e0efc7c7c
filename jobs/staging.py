"""Stages a night: scored and kept lists become rows, in one commit.

- Where no item may enter a list, users whose lists are kept are copied from the earlier night, and
  the others alone go through the workers.
- Where some may, every user does, with the list that may be kept; the workers rank those whom such
  an item could reach.
- `replaceWhere` replaces the night alone; a killed run leaves nothing behind.

Trade-off: the commit is the first moment at which anything is to be seen of a night.
"""

import re
from dataclasses import dataclass

from deltalake import DeltaTable
from pyspark import Accumulator
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs import night_frame, progress
from jobs.incremental import Kept
from jobs.nights import StagedNight
from jobs.tables import RECOMMENDATIONS_STAGED
from jobs.task_counts import Counts, TaskCounts
from jobs.warehouse import Warehouse
from models.dataset import Catalogue
from models.errors import InputError
from models.night import NightPlan

_REFUSAL = re.compile(r"^models\.errors\.InputError: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Staged:
    """What was staged: the night's rows, the users scored, the version of the staged table."""

    rows: int
    users_scored: int
    version: int


def stage(
    session: SparkSession,
    warehouse: Warehouse,
    night: StagedNight,
    catalogue: Catalogue,
    users: int,
    plan: NightPlan,
    kept: Kept | None,
) -> Staged:
    """Score `users` users but for those whose lists are kept, and commit the night.

    The caller holds the table's lock. Raises InputError naming a user whose vector is no number.
    """
    session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(plan.batch_users))
    passing = users if kept is None or kept.entering else len(kept.score)
    done: Accumulator[Counts] = session.sparkContext.accumulator({}, TaskCounts())
    frame = _frame(session, warehouse, night, catalogue, passing, plan, kept, done)
    warehouse.create(RECOMMENDATIONS_STAGED)
    with progress.shown(lambda: _total(done, 0), passing, len(catalogue.item_ids)):
        _write(frame, warehouse, night)
    commit = DeltaTable(warehouse.path(RECOMMENDATIONS_STAGED)).history(1)[0]
    if commit.get("userMetadata") != night.metadata():
        raise RuntimeError(f"night {night.run_date}: another writer's commit came after ours")
    rows = int(commit["operationMetrics"]["numOutputRows"])
    return Staged(rows, _total(done, 1), int(commit["version"]))


def _frame(
    session: SparkSession,
    warehouse: Warehouse,
    night: StagedNight,
    catalogue: Catalogue,
    passing: int,
    plan: NightPlan,
    kept: Kept | None,
    done: Accumulator[Counts],
) -> DataFrame:
    """Return the night's rows; `passing` users go through the workers and are counted in `done`."""
    items = night_frame.items_frame(session, catalogue.item_ids)
    tasks = night_frame.tasks(passing, session.sparkContext.defaultParallelism)
    scored = copied = lists = None
    if kept is not None:
        scored = night_frame.users_frame(session, kept.score)
        copied = night_frame.kept_rows(session, warehouse, kept, scored, night.run_date)
        if kept.entering:
            lists = night_frame.kept_by_user(copied, items, night.k, tasks)
            scored = copied = None
    users = night_frame.histories(session, warehouse, night.inputs, items, tasks, scored)
    udf = night_frame.lists_udf(plan, done)
    rows = night_frame.recommendations(
        users, items, udf, night.run_date, night.model_version, lists
    )
    return rows if copied is None else rows.union(copied)


def _total(done: Accumulator[Counts], which: int) -> int:
    return sum(counts[which] for counts in list(done.value.values()))


def _write(frame: DataFrame, warehouse: Warehouse, night: StagedNight) -> None:
    writer = frame.write.format("delta").mode("overwrite")
    writer = writer.option("replaceWhere", f"run_date = '{night.run_date}'")
    try:
        writer.option("userMetadata", night.metadata()).save(warehouse.path(RECOMMENDATIONS_STAGED))
    except PySparkException as error:
        refusal = _REFUSAL.search(str(error))
        if refusal is None:
            raise
        raise InputError(refusal[1]) from error
