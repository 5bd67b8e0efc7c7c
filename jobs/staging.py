"""Stages a night: scored and kept lists become rows, in one commit.

- Users whose lists are kept are copied from the earlier night; the others go through the ranker.
- `replaceWhere` replaces the night alone; a killed run leaves nothing behind.

Trade-off: the commit is the first moment at which anything is to be seen of a night.
"""

import re

from deltalake import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs import night_frame, progress
from jobs.incremental import Kept
from jobs.nights import StagedNight
from jobs.tables import RECOMMENDATIONS_STAGED
from jobs.warehouse import Warehouse
from models.dataset import Catalogue
from models.errors import InputError
from models.night import NightPlan

_REFUSAL = re.compile(r"^models\.errors\.InputError: (.*)$", re.MULTILINE)


def stage(
    session: SparkSession,
    warehouse: Warehouse,
    night: StagedNight,
    catalogue: Catalogue,
    users: int,
    plan: NightPlan,
    kept: Kept | None,
) -> tuple[int, int]:
    """Score `users` users, keep the other lists, commit the night.

    The caller holds the table's lock. Returns the night's rows and the version of the staged table;
    raises InputError naming a user whose vector is no number.
    """
    session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(plan.batch_users))
    done = session.sparkContext.accumulator(0)
    items = night_frame.items_frame(session, catalogue.item_ids)
    tasks = night_frame.tasks(users, session.sparkContext.defaultParallelism)
    scored = None if kept is None else night_frame.users_frame(session, kept.score)
    histories = night_frame.histories(session, warehouse, night.inputs, items, tasks, scored)
    frame = night_frame.recommendations(
        histories, items, night_frame.lists_udf(plan, done), night.run_date, night.model_version
    )
    if kept is not None and scored is not None:
        frame = frame.union(night_frame.kept_rows(session, warehouse, kept, scored, night.run_date))
    warehouse.create(RECOMMENDATIONS_STAGED)
    with progress.shown(lambda: done.value, users, len(catalogue.item_ids)):
        _write(frame, warehouse, night)
    commit = DeltaTable(warehouse.path(RECOMMENDATIONS_STAGED)).history(1)[0]
    if commit.get("userMetadata") != night.metadata():
        raise RuntimeError(f"night {night.run_date}: another writer's commit came after ours")
    return int(commit["operationMetrics"]["numOutputRows"]), int(commit["version"])


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
