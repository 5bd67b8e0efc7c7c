"""active-learning: choose the unlabelled pairs whose labels would teach most, and ask for them.

- A version, as shipped where it is exported and else as fine-tuned, gives every unlabelled pair of
  a user and an available item its calibrated probability of liking;
  `models/evaluation/active_learning.py` chooses among them.
- The pairs stand in table `active_learning` and in a CSV file, each with an empty `value`;
  `nightrank ingest active_learning` takes back those that somebody filled in.
- A pair is asked for at the time of the newest interaction (`asked_at`), not at the clock's: the
  same tables ask the same, and an answer without a time of its own is as new as the data.
- One commit replaces the rows that nobody answered and keeps the others. Where the same pairs come
  out again, there is none.

Trade-off: all items are scored for every user, a block of users at a time, in this one process.
"""

import datetime as dt
import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.context import Context
from jobs.sources.label_sheet import SHEET, read_sheet, write_sheet
from jobs.versions.best_variant import best_variant
from jobs.warehouse.dataset import Dataset, read_dataset
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import ACTIVE_LEARNING, TABLES
from models.errors import InputError
from models.evaluation.active_learning import Pairs, diverse_pairs, unlabelled_pairs
from models.serving.bundle import Bundle

LOGGER = logging.getLogger(__name__)
UNANSWERED = "value IS NULL"

Pair = tuple[str, str]


def run(context: Context, model_version: str | None = None) -> dict[str, Any]:
    """Ask for `label_pairs` pairs by a version (default: the candidate).

    Raises InputError without a version, where all pairs are labelled, or where the sheet holds
    answers that would be lost.
    """
    settings, warehouse = context.settings, context.warehouse
    bundle = context.registry.candidate(model_version)
    sheet = Path(settings.reports) / SHEET
    with context.recorded("active-learning", model_version=bundle.version) as record:
        dataset = read_dataset(warehouse)
        record.inputs |= dataset.versions
        with best_variant(bundle, dataset.catalogue) as variant:
            pairs = unlabelled_pairs(
                variant, dataset.interactions, dataset.profiles, dataset.catalogue.available
            )
        asked = _asked(warehouse)
        answered = {_pair(row) for row in asked if row["value"] is not None}
        _refuse_loss(sheet, dataset, answered)
        pairs = _without(pairs, dataset, answered)
        if not len(pairs):
            raise InputError("every pair of a user and an available item is labelled already")
        chosen = diverse_pairs(pairs, variant.vectors, settings.label_pairs, settings.seed)
        rows = _rows(dataset, bundle, chosen)
        reused = _figures(row for row in asked if row["value"] is None) == _figures(rows)
        if not reused:
            warehouse.replace(ACTIVE_LEARNING, _arrow(rows), UNANSWERED)
        write_sheet(sheet, rows)
        if len(rows) < settings.label_pairs:
            LOGGER.info("only %d of %d pairs are left to ask", len(rows), settings.label_pairs)
        record.rows["asked"] = len(rows)
    return {
        "model_version": bundle.version,
        "asked": len(rows),
        "answered": len(answered),
        "reused": reused,
        "table_version": warehouse.version(ACTIVE_LEARNING),
        "sheet": str(sheet),
    }


def _ids(dataset: Dataset, pairs: Pairs) -> list[Pair]:
    items = dataset.catalogue.item_ids
    return [
        (dataset.user_ids[user], items[item])
        for user, item in zip(pairs.user.tolist(), pairs.item.tolist(), strict=True)
    ]


def _asked(warehouse: Warehouse) -> list[dict[str, Any]]:
    found = warehouse.read(ACTIVE_LEARNING) if warehouse.exists(ACTIVE_LEARNING) else None
    return [] if found is None else found.to_pylist()


def _pair(row: dict[str, Any]) -> Pair:
    return row["user_id"], row["item_id"]


def _without(pairs: Pairs, dataset: Dataset, answered: Collection[Pair]) -> Pairs:
    users = {user_id: row for row, user_id in enumerate(dataset.user_ids)}
    items = {item_id: row for row, item_id in enumerate(dataset.catalogue.item_ids)}
    told = [users[u] * len(items) + items[i] for u, i in answered if u in users and i in items]
    return pairs.take(np.flatnonzero(~np.isin(pairs.user * len(items) + pairs.item, told)))


def _refuse_loss(sheet: Path, dataset: Dataset, answered: Collection[Pair]) -> None:
    """Raise InputError where the sheet has an answer that is in no table yet."""
    answers = [answer for answer in read_sheet(sheet) if answer.pair not in answered]
    names = {answer.pair[0] for answer in answers}
    users = [row for row, user_id in enumerate(dataset.user_ids) if user_id in names]
    seen = dataset.interactions.take(np.isin(dataset.interactions.user, users))
    labelled = set(_ids(dataset, Pairs(seen.user, seen.item, seen.value)))
    for answer in answers:
        if answer.pair not in labelled:
            raise InputError(
                f"{sheet} line {answer.line} has a value that was not ingested: run "
                "`nightrank ingest active_learning` first, or empty it"
            )


def _rows(dataset: Dataset, bundle: Bundle, pairs: Pairs) -> list[dict[str, Any]]:
    newest = dt.datetime.fromtimestamp(float(dataset.interactions.time.max()), dt.UTC)
    titles = dataset.catalogue.titles
    figures = zip(
        _ids(dataset, pairs), pairs.item, pairs.probability, pairs.uncertainty, strict=True
    )
    return [
        {
            "user_id": user_id,
            "item_id": item_id,
            "title": titles[item],
            "probability": float(chance),
            "uncertainty": float(bits),
            "model_version": bundle.version,
            "asked_at": newest,
            "value": None,
            "labelled_at": None,
        }
        for (user_id, item_id), item, chance, bits in figures
    ]


def _figures(rows: Iterable[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {(*_pair(row), row["model_version"], row["probability"]) for row in rows}


def _arrow(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES[ACTIVE_LEARNING].arrow_schema)
