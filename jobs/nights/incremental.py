"""Whose lists a night may take over from a night before, and who has to be scored again.

- A list follows from the user's interactions and profile, the items, the model, k, and the days
  since the newest interaction until these have settled (`SETTLED_DAYS`).
- Where an earlier staged night had the same model and k, Delta's change feed tells whose
  interactions or profile have changed since; they and the unsettled are scored.
- It also tells which items have changed, and both versions of these tell what that means: scored
  is who has one in the list that has to leave it, and who has one in the history that is
  remembered otherwise. Items that lists may gain are left to the workers, which hold them against
  the k-th score of every other user (`models.serving.entrants`).
- All others' rows are copied.
- Everything else is a full night: another model or k, a table without a change feed of all
  versions in between (a VACUUM may have taken files of it), so many changed items that a list
  holds one of them on average, and any changed item on a GPU, where the bits of a score depend on
  the item's place among the others.

Trade-off: the ids of the users to score pass through the driver.
"""
# ruff: noqa: S608  (names of tables and dates, nothing that people type)

import datetime as dt
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa

from jobs.nights.staged import StagedNight, staged_nights
from jobs.warehouse.dataset import read_items
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, USERS
from jobs.warehouse.views import connect
from models.data.catalogue_changes import CatalogueChanges, changes
from models.serving.user_encoder import SETTLED_DAYS

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A night whose staged rows stand for all users but those to `score` again.

    Where there are items `entering`, the rows stand only while none of these reaches the user's
    k-th score. `table_version` is that of `recommendations_staged` in which the rows are read.
    """

    night: StagedNight
    table_version: int
    score: frozenset[str]
    entering: frozenset[str]


def kept_lists(
    warehouse: Warehouse, night: StagedNight, known: Collection[str], device: str
) -> Kept | None:
    """Return what `night` may take over from an earlier one; None where all have to be scored.

    `known` are the items with factors of their own; `device` is "cpu" or "cuda".
    """
    for earlier in _candidates(warehouse, night):
        users = _changed_users(warehouse, earlier, night)
        items = _changed_items(warehouse, earlier, night, frozenset(known), device)
        if users is None or items is None:
            continue
        version = warehouse.version(RECOMMENDATIONS_STAGED)
        touched = _touched(warehouse, earlier, night, items, version)
        kept = Kept(earlier, version, frozenset(users | touched), items.entering)
        LOGGER.info(
            "keeping the lists of night %s but for %d users and those whom %d items reach",
            earlier.run_date,
            len(kept.score),
            len(kept.entering),
        )
        return kept
    LOGGER.info("scoring every user: no earlier night with the same model and k, and like items")
    return None


def _candidates(warehouse: Warehouse, night: StagedNight) -> Iterator[StagedNight]:
    """Yield the staged nights before `night` that were made of the same things, newest first."""
    for earlier in sorted(staged_nights(warehouse), key=lambda one: one.run_date, reverse=True):
        same = (earlier.model_version, earlier.k) == (night.model_version, night.k)
        tables = earlier.inputs.keys() == night.inputs.keys()
        if earlier.run_date < night.run_date and same and tables:
            yield earlier


def _changed(
    warehouse: Warehouse, earlier: StagedNight, night: StagedNight, name: str, column: str
) -> set[str] | None:
    """Return the values of `column` in changed rows of `name`; None where it can't be told."""
    since, until = earlier.inputs[name], night.inputs[name]
    return warehouse.changed(name, since, until, column) if since <= until else None


def _changed_users(
    warehouse: Warehouse, earlier: StagedNight, night: StagedNight
) -> set[str] | None:
    """Return the users whose rows changed between two nights; None where it can't be told."""
    found: set[str] = set()
    for name in {INTERACTIONS, USERS} & night.inputs.keys():
        users = _changed(warehouse, earlier, night, name, "user_id")
        if users is None:
            return None
        found |= users
    return found


def _changed_items(
    warehouse: Warehouse,
    earlier: StagedNight,
    night: StagedNight,
    known: frozenset[str],
    device: str,
) -> CatalogueChanges | None:
    """Return what became of the items between two nights; None where lists can't be kept."""
    ids = _changed(warehouse, earlier, night, ITEMS, "item_id")
    if ids is None or (ids and device != "cpu"):
        return None
    if not ids:
        return CatalogueChanges()
    version = night.inputs[ITEMS]
    try:
        before = read_items(warehouse, earlier.inputs[ITEMS], ids)
    except FileNotFoundError as error:
        LOGGER.info("the items of night %s are gone: %s", earlier.run_date, error)
        return None
    found = changes(before, read_items(warehouse, version, ids), known)
    moved = max(len(found.entering), len(found.leaving))
    # spread evenly, moved * k / items of them are in a list: from one on most lists change
    return found if moved * night.k < warehouse.dataset(ITEMS, version).count_rows() else None


def _touched(
    warehouse: Warehouse,
    earlier: StagedNight,
    night: StagedNight,
    items: CatalogueChanges,
    staged_version: int,
) -> set[str]:
    """Return the users whose list of `earlier` can't stand, whatever other items there are.

    Those whose newest interaction was less than SETTLED_DAYS old, those who hold an item that
    leaves, and those whose history has an item that is remembered otherwise.
    """
    clock = dt.datetime.combine(earlier.run_date, dt.time(), dt.UTC)
    since = (clock - dt.timedelta(days=SETTLED_DAYS)).isoformat()
    versions = {
        INTERACTIONS: night.inputs[INTERACTIONS],
        RECOMMENDATIONS_STAGED: staged_version,
    }
    query = f"""
        SELECT user_id FROM {INTERACTIONS} WHERE ts > TIMESTAMPTZ '{since}'
        UNION
        SELECT user_id FROM {INTERACTIONS} SEMI JOIN remembered USING (item_id)
        UNION
        SELECT user_id FROM {RECOMMENDATIONS_STAGED} SEMI JOIN leaving USING (item_id)
        WHERE run_date = DATE '{earlier.run_date}'
    """
    with connect(warehouse, versions) as tables:
        tables.register("remembered", _ids(items.remembered))
        tables.register("leaving", _ids(items.leaving))
        return {str(user) for (user,) in tables.sql(query).fetchall()}


def _ids(item_ids: Collection[str]) -> pa.Table:
    return pa.table({"item_id": pa.array(list(item_ids), pa.string())})
