"""Explain a score: what each part adds for one user and one item, up to the whole.

- The champion's user tower and item factors are asked about this user and this item alone, with the
  tables as a night of the run date knows them; the score is the one that such a night gives.
- It is split exactly (`models.serving.reasons`) into the collaborative blocks, the profile and
  popularity, and the blocks into the items of the history.
- A picture of the parts goes to `explain.png` under `reports`.

Trade-off: a block and an item of the history are two cuts through the same sum, so that each of the
two tables adds up by itself, and not both together.
"""
# ruff: noqa: S608  (names of tables and checked dates, nothing that people type)

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np

from jobs.context import Context
from jobs.nights.horizon import end_of, midnight
from jobs.nights.staged import night_or_default
from jobs.reports.plots import EXPLANATION, plot_parts
from jobs.reports.text_table import aligned
from jobs.warehouse.dataset import read_items
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.queries import open_tables
from jobs.warehouse.tables import INTERACTIONS, ITEMS, USERS
from models.data.interactions import Catalogue, History, tie_order
from models.data.texts import item_texts
from models.errors import InputError
from models.serving.night import lately_until
from models.serving.reasons.parts import Parts, parts_of
from models.serving.text_vectors import TextVectors

_SHOWN = 10


def run(context: Context, user: str, item: str, run_date: str | None = None) -> dict[str, Any]:
    """Split the champion's score of `item` for `user` on the night `run_date`.

    Raises InputError where that night doesn't know the user or the item.
    """
    warehouse, settings = context.warehouse, context.settings
    date = night_or_default(warehouse, run_date)
    bundle = context.registry.champion()
    events = _events(warehouse, user, date)
    profile = _profile(warehouse, user)
    if not events and profile is None:
        raise InputError(f"USER {user!r}: nobody of that id is known on night {date}")
    catalogue = read_items(
        warehouse, warehouse.version(ITEMS), {item, *(event[0] for event in events)}
    )
    if item not in catalogue.item_ids:
        raise InputError(f"ITEM {item!r}: table `{ITEMS}` has no such item")
    parts = parts_of(
        bundle,
        catalogue,
        TextVectors(bundle.encoder, 1).encode(item_texts(catalogue)),
        catalogue.item_ids.index(item),
        _history(events, catalogue),
        profile or "",
        None if settings.asked == "last_visit" else midnight(date),
        lately_until(bundle.manifest, midnight(date)),
    )
    titles = dict(zip(catalogue.item_ids, catalogue.titles, strict=True))
    picture = Path(settings.reports) / EXPLANATION
    plot_parts(picture, titles[item] or item, parts.by_part)
    return {
        "run_date": str(date),
        "model_version": bundle.version,
        "item": titles[item] or item,
        **_told(parts, catalogue),
        "picture": str(picture),
    }


def _told(parts: Parts, catalogue: Catalogue) -> dict[str, Any]:
    ranked = sorted(parts.by_item.items(), key=lambda one: -one[1])
    shown = [[catalogue.item_ids[r], catalogue.titles[r], round(add, 4)] for r, add in ranked]
    rest = sum(add for _, add in ranked[_SHOWN:])
    lines = [*shown[:_SHOWN], *([["", "the others", round(rest, 4)]] if ranked[_SHOWN:] else [])]
    by_part = [[name, round(add, 4) + 0.0] for name, add in parts.by_part.items()]
    return {
        "score": parts.score,
        "parts": parts.by_part,
        "history": {catalogue.item_ids[row]: add for row, add in ranked},
        "text": "\n\n".join(
            [
                aligned(["part", "adds"], [*by_part, ["score", round(parts.score, 4)]]),
                aligned(["item_id", "of the history", "adds to the blocks"], lines),
            ]
        ),
    }


def _events(warehouse: Warehouse, user: str, date: dt.date) -> list[tuple[str, float, float]]:
    """Return item, value and seconds of what the user has done until the end of `date`."""
    query = f"""SELECT item_id, value, epoch_us(ts) / 1e6 FROM {INTERACTIONS}
        WHERE user_id = $user AND ts < TIMESTAMPTZ '{end_of(date)}'"""
    with open_tables(warehouse, {INTERACTIONS: None}) as tables:
        return tables.execute(query, {"user": user}).fetchall()


def _profile(warehouse: Warehouse, user: str) -> str | None:
    if not warehouse.exists(USERS):
        return None
    with open_tables(warehouse, {USERS: None}) as tables:
        query = f"SELECT text FROM {USERS} WHERE user_id = $user"
        found = tables.execute(query, {"user": user}).fetchone()
    return None if found is None else str(found[0])


def _history(events: list[tuple[str, float, float]], catalogue: Catalogue) -> History:
    rows = {item: row for row, item in enumerate(catalogue.item_ids)}
    ties = tie_order(catalogue.item_ids)
    there = [(seconds, int(ties[rows[item]]), rows[item], value)
             for item, value, seconds in events if item in rows]  # fmt: skip
    columns = list(zip(*sorted(there), strict=True)) or [(), (), (), ()]
    item, value, time = columns[2], columns[3], columns[0]
    return History(np.array(item, dtype=np.int64), np.array(value, float), np.array(time, float))
