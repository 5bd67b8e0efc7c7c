"""A published night once more, from what its lineage names: the rows that it should have.

- The tables are read at the versions that the night was made of, up to its date, and the same
  version of the model ranks every user anew; nothing is kept of other nights.
- Users, histories and lists take the way of a scoring task (`jobs.nights.rows`,
  `models.serving.night`), without Spark: DuckDB sorts the rows and this process ranks them.
- A user's list is the same bits whoever is ranked beside them, so the rows can be compared value by
  value.

Trade-off: one process on one core, which takes as long as all tasks of the night together.
"""
# ruff: noqa: S608  (names of tables and checked dates, nothing that people type)

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from jobs.nights.horizon import end_of, horizon, later
from jobs.nights.rows import fresh_rows, users_of, whole_users
from jobs.nights.staged import StagedNight
from jobs.nights.text_vectors import item_vectors
from jobs.warehouse.dataset import read_catalogue
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.queries import open_tables
from jobs.warehouse.tables import INTERACTIONS, ITEMS, USERS
from models.data.interactions import Catalogue, tie_order
from models.serving.bundle import Bundle
from models.serving.night import NightPlan, block_items, prepare, top_lists

_BATCH_USERS, _MEMORY_MB, _ROWS_AT_ONCE = 512, 64, 100_000


def recomputed(
    warehouse: Warehouse, bundle: Bundle, night: StagedNight, folder: Path, device: str
) -> Iterator[pa.Table]:
    """Yield the rows that `night` should have, but for run_date, in parts.

    `bundle` is the night's model, `folder` takes its arrays, `device` is "cpu" or "cuda". What the
    libraries raise where a table's version is gone comes through.
    """
    known = horizon(warehouse, night.inputs[INTERACTIONS], night.run_date)
    without = known.later_items if night.as_of_date else ()
    catalogue = read_catalogue(warehouse, night.inputs[ITEMS], without)
    vectors, _ = item_vectors(warehouse, bundle, catalogue, 1)
    prepare(bundle, catalogue, vectors, (), folder, 1)
    plan = _plan(bundle, night, folder, device)
    item_ids = pa.array(catalogue.item_ids, pa.string())
    for some in whole_users(_rows(warehouse, night, catalogue), _BATCH_USERS):
        users = users_of(some, night.k)
        yield fresh_rows(users, top_lists(plan, users), item_ids, bundle.version)


def _plan(bundle: Bundle, night: StagedNight, folder: Path, device: str) -> NightPlan:
    return NightPlan(
        bundle_folder=str(bundle.folder),
        night_folder=str(folder),
        version=bundle.version,
        k=night.k,
        batch_users=_BATCH_USERS,
        block_items=block_items(_MEMORY_MB, _BATCH_USERS),
        clock=night.clock,
        threads=1,
        device=device,
        repeats=night.repeats,
        lately=night.lately,
    )


def _rows(
    warehouse: Warehouse, night: StagedNight, catalogue: Catalogue
) -> Iterator[pa.RecordBatch]:
    """Yield rows as `jobs.nights.frame.user_rows` makes them, one user after another."""
    items = pa.table(
        {
            "item_id": pa.array(catalogue.item_ids, pa.string()),
            "item_row": pa.array(range(len(catalogue.item_ids)), pa.int32()),
            "tie": pa.array(tie_order(catalogue.item_ids), pa.int32()),
        }
    )
    until = f"WHERE ts < TIMESTAMPTZ '{end_of(night.run_date)}'" if night.as_of_date else ""
    there = f"ANTI JOIN ({later('user_id', night.run_date)}) USING (user_id)"
    profiles = f"""UNION ALL BY NAME
        SELECT user_id, text FROM {USERS} {there if night.as_of_date else ""}"""
    query = f"""
        SELECT user_id, CASE WHEN item_row IS NOT NULL THEN ts END AS ts, tie, item_row,
               CASE WHEN item_row IS NOT NULL THEN value END AS value, NULL::VARCHAR AS text
        FROM (SELECT * FROM {INTERACTIONS} {until}) LEFT JOIN catalogue USING (item_id)
        {profiles if USERS in night.inputs else ""}
        ORDER BY user_id, ts NULLS FIRST, tie NULLS FIRST"""
    tables = {name: night.inputs[name] for name in (INTERACTIONS, USERS) if name in night.inputs}
    with open_tables(warehouse, tables) as opened:
        opened.register("catalogue", items)
        yield from opened.sql(query).to_arrow_reader(_ROWS_AT_ONCE)
