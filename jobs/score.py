"""Score every user-item pair with the champion and stage each user's top k for a night.

- The versions of all tables are pinned first and travel with the staged rows.
- New texts are encoded and the items' factors computed once, into files that every worker maps.
- Spark groups interactions by user; a pandas UDF scores the users against all items; lists of users
  of whom nothing has changed since an earlier night are kept.
- One commit replaces the night in `recommendations_staged`: a killed run leaves nothing, the next
  one gives the same rows.

Trade-off: the staged table is locked from start to end, so that a lost run fences off the next.
"""

import datetime as dt
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs import night_frame, nights, registry, spark
from jobs.dataset_reader import read_catalogue
from jobs.incremental import kept_lists
from jobs.lineage import recorded
from jobs.nights import StagedNight
from jobs.settings import Settings
from jobs.staging import stage
from jobs.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, USERS
from jobs.text_vectors import text_vectors
from jobs.views import connect
from jobs.warehouse import Warehouse
from models.bundle import Bundle
from models.night import NightPlan, block_items, prepare, usable_device
from models.texts import item_texts


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
            kept = kept_lists(warehouse, night) if settings.incremental else None
            scored = users if kept is None else len(kept.score)
            scoring = time.monotonic()
            rows, version = stage(session, warehouse, night, catalogue, scored, plan, kept)
            pairs_per_second = round(scored * items / (time.monotonic() - scoring))
        record.rows = {RECOMMENDATIONS_STAGED: rows, "users": users, "k": settings.k}
        record.rows["users_scored"] = scored
    return {
        "staged_night": date.isoformat(),
        "model_version": bundle.version,
        "device": plan.device,
        "users": users,
        "users_scored": scored,
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


if __name__ == "__main__":
    from jobs.cli import main

    main(["score", *sys.argv[1:]])
