"""Score every user-item pair with the champion and stage each user's top k for a night.

- The versions of all tables are pinned first and travel with the staged rows.
- New texts are encoded and the items' factors computed once, into files that every worker maps.
- Spark groups interactions by user; a pandas UDF scores the users against all items.
- One commit replaces the night in `recommendations_staged`: a killed run leaves nothing, the next
  one gives the same rows.

Trade-off: the staged table is locked from start to end, so that a lost run fences off the next.
"""

import datetime as dt
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs import night_frame, nights, progress, registry, spark
from jobs.dataset_reader import read_catalogue
from jobs.lineage import recorded
from jobs.nights import StagedNight
from jobs.settings import Settings
from jobs.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, USERS
from jobs.text_vectors import text_vectors
from jobs.views import connect
from jobs.warehouse import Warehouse
from models.bundle import Bundle
from models.dataset import Catalogue
from models.errors import InputError
from models.night import NightPlan, block_items, prepare, usable_device
from models.texts import item_texts

_REFUSAL = re.compile(r"^models\.errors\.InputError: (.*)$", re.MULTILINE)


def run(settings: Settings, run_date: str | None = None) -> dict[str, Any]:
    """Stage the night `run_date`; InputError where there is no champion or no data."""
    start = time.monotonic()
    warehouse = Warehouse(settings.warehouse)
    date = nights.night_or_default(warehouse, run_date)
    with recorded(settings, "score", date) as record:
        bundle = registry.champion(settings)
        versions = _versions(warehouse)
        record.model_version, record.inputs = bundle.version, versions
        night = StagedNight(date, bundle.version, settings.k, versions)
        catalogue = read_catalogue(warehouse, versions[ITEMS])
        users, items = _count_users(warehouse, versions), len(catalogue.item_ids)
        with warehouse.lock(RECOMMENDATIONS_STAGED), tempfile.TemporaryDirectory() as folder:
            session = spark.session(settings, f"score {date}")
            threads = len(os.sched_getaffinity(0))
            vectors, encoded = text_vectors(warehouse, bundle, item_texts(catalogue), threads)
            prepare(bundle, catalogue, vectors, Path(folder) / "arrays", threads)
            plan = _plan(settings, session, bundle, Path(folder), date)
            scoring = time.monotonic()
            rows, version = _stage(session, warehouse, night, catalogue, users, plan)
            pairs_per_second = round(users * items / (time.monotonic() - scoring))
        record.rows = {RECOMMENDATIONS_STAGED: rows, "users": users, "k": settings.k}
    return {
        "staged_night": date.isoformat(),
        "model_version": bundle.version,
        "device": plan.device,
        "users": users,
        "items": items,
        "rows": rows,
        "texts_encoded": encoded,
        "seconds": round(time.monotonic() - start, 2),
        "pairs_per_second": pairs_per_second,
        "table_version": version,
    }


def _versions(warehouse: Warehouse) -> dict[str, int]:
    # interactions first: items that are read later hold every item that they name
    names = [INTERACTIONS, ITEMS, *([USERS] if warehouse.exists(USERS) else [])]
    return {name: warehouse.version(name) for name in names}


def _count_users(warehouse: Warehouse, versions: dict[str, int]) -> int:
    tables = [name for name in (INTERACTIONS, USERS) if name in versions]
    everyone = " UNION ".join(f"SELECT user_id FROM {name}" for name in tables)  # noqa: S608
    with connect(warehouse, versions) as connection:
        return int(connection.sql(f"SELECT count(*) FROM ({everyone})").fetchall()[0][0])  # noqa: S608


def _plan(
    settings: Settings, session: SparkSession, bundle: Bundle, folder: Path, date: dt.date
) -> NightPlan:
    """Return the plan that the workers follow; the night's arrays lie under `folder`."""
    return NightPlan(
        bundle_folder=night_frame.shipped(session, bundle.folder, folder, "model"),
        night_folder=night_frame.shipped(session, folder / "arrays", folder, "night"),
        version=bundle.version,
        k=settings.k,
        batch_users=settings.score_batch_users,
        block_items=block_items(settings.score_memory_mb, settings.score_batch_users),
        clock=dt.datetime.combine(date, dt.time(), dt.UTC).timestamp(),
        threads=int(session.conf.get("spark.task.cpus", "1") or 1),
        device=usable_device(bundle, settings.device),
    )


def _stage(
    session: SparkSession,
    warehouse: Warehouse,
    night: StagedNight,
    catalogue: Catalogue,
    users: int,
    plan: NightPlan,
) -> tuple[int, int]:
    """Score and commit the night; return its rows and the version of the staged table."""
    session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(plan.batch_users))
    done = session.sparkContext.accumulator(0)
    items = night_frame.items_frame(session, catalogue.item_ids)
    tasks = night_frame.tasks(users, session.sparkContext.defaultParallelism)
    histories = night_frame.histories(session, warehouse, night.inputs, items, tasks)
    frame = night_frame.recommendations(
        histories, items, night_frame.lists_udf(plan, done), night.run_date, night.model_version
    )
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


if __name__ == "__main__":
    from jobs.cli import main

    main(["score", *sys.argv[1:]])
