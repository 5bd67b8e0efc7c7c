"""Score every user-item pair with the champion and stage each user's top k for a night.

- Champion and table versions are pinned under the lock, so that a wait doesn't make them old. They
  travel with the staged rows. Of the tables a night reads what was known at the end of its date
  (`jobs.nights.horizon`).
- New texts of items that the champion doesn't know are encoded and the items' factors computed
  once, into files that every worker maps.
- Spark brings the interactions of each user together; its tasks score the users against all items
  and write the lists to files; lists of users of whom nothing has changed since an earlier night,
  and whom no new item reaches, are kept.
- One commit replaces the night in `recommendations_staged`: a killed run leaves nothing, the next
  one gives the same rows.

Trade-off: the staged table is locked from start to end, so that a lost run fences off the next.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.context import Context
from jobs.nights.horizon import (
    Horizon,
    count_users,
    horizon,
    refuse_date,
    refuse_model,
)
from jobs.nights.incremental import Kept, kept_lists
from jobs.nights.rows import write_item_ids
from jobs.nights.staged import StagedNight, night_or_default, night_to_stage
from jobs.nights.staging import stage
from jobs.nights.text_vectors import item_vectors
from jobs.settings.model import Settings
from jobs.spark.session import open_session
from jobs.spark.shipping import ship_code, shipped
from jobs.warehouse.dataset import read_catalogue
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, USERS
from models.data.interactions import Catalogue
from models.processors import usable_cores
from models.serving.bundle import RANKER, Bundle
from models.serving.night import NightPlan, block_items, prepare, usable_device


def run(context: Context, run_date: str | None = None) -> dict[str, Any]:
    """Stage the night `run_date`; InputError where it, the champion or the data won't do."""
    start = time.monotonic()
    settings, warehouse = context.settings, context.warehouse
    date = night_or_default(warehouse, run_date)
    with context.recorded("score", date) as record:
        context.registry.champion()  # where there is none, nothing is waited for or made
        with warehouse.lock(RECOMMENDATIONS_STAGED), tempfile.TemporaryDirectory() as scratch:
            bundle = context.registry.champion()
            versions = _versions(warehouse)
            record.model_version, record.inputs = bundle.version, versions
            known = horizon(warehouse, versions[INTERACTIONS], date)
            refuse_date(date, known.interactions, settings.allow_future_night)
            until = refuse_model(bundle, known, settings.allow_later_model)
            night = night_to_stage(settings, warehouse, bundle.manifest, date, versions)
            catalogue = read_catalogue(warehouse, versions[ITEMS], known.later_items)
            users = count_users(warehouse, versions, known)
            session = open_session(settings, f"score {date}")
            device = usable_device(bundle.path(RANKER), settings.device)
            kept = _kept(context, bundle, night, known, device)
            encoded = _prepare(warehouse, bundle, catalogue, kept, Path(scratch) / "arrays")
            plan = _plan(settings, session, bundle, Path(scratch), night, device)
            scoring = time.monotonic()
            staged = stage(session, warehouse, night, known, catalogue, users, plan, kept)
            scoring = time.monotonic() - scoring
        counts = {"users": users, "users_scored": staged.users_scored}
        record.rows = {RECOMMENDATIONS_STAGED: staged.rows, "k": settings.k, **counts}
    return {
        "staged_night": date.isoformat(),
        "model_version": bundle.version,
        "device": device,
        "trained_until": until,
        **counts,
        "items": len(catalogue.item_ids),
        "rows": staged.rows,
        "texts_encoded": encoded,
        "seconds": round(time.monotonic() - start, 2),
        "pairs_per_second": round(staged.users_scored * len(catalogue.item_ids) / scoring),
        "table_version": staged.version,
    }


def _kept(
    context: Context, bundle: Bundle, night: StagedNight, known: Horizon, device: str
) -> Kept | None:
    if not context.settings.incremental:
        return None
    return kept_lists(context.warehouse, night, known.later_items, bundle.item_ids, device)


def _versions(warehouse: Warehouse) -> dict[str, int]:
    # interactions first: items that are read later hold every item that they name
    names = [INTERACTIONS, ITEMS, *([USERS] if warehouse.exists(USERS) else [])]
    return {name: warehouse.version(name) for name in names}


def _prepare(
    warehouse: Warehouse, bundle: Bundle, catalogue: Catalogue, kept: Kept | None, folder: Path
) -> int:
    """Write the night's arrays to `folder`; return how many texts had to be encoded."""
    threads = usable_cores()
    vectors, encoded = item_vectors(warehouse, bundle, catalogue, threads)
    prepare(bundle, catalogue, vectors, kept.entering if kept else (), folder, threads)
    write_item_ids(folder, catalogue.item_ids)
    return encoded


def _plan(
    settings: Settings,
    session: SparkSession,
    bundle: Bundle,
    folder: Path,
    night: StagedNight,
    device: str,
) -> NightPlan:
    """Return the plan that the workers follow, and send them what it names.

    The night's arrays lie under `folder`.
    """
    ship_code(session, folder)
    return NightPlan(
        bundle_folder=shipped(session, bundle.folder, folder, "model"),
        night_folder=shipped(session, folder / "arrays", folder, "night"),
        version=bundle.version,
        k=settings.k,
        batch_users=settings.score_batch_users,
        block_items=block_items(settings.score_memory_mb, settings.score_batch_users),
        clock=night.clock,
        threads=int(session.conf.get("spark.task.cpus", "1") or 1),
        device=device,
        repeats=night.repeats,
        lately=night.lately,
    )
