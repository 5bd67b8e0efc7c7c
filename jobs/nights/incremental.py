"""Which users' lists a night can copy from an earlier night, and which users are scored again.

- A user's list depends on the user's interactions and profile, the items, the model, k, and the
  days since the newest interaction, until there are `SETTLED_DAYS` of them.
- Where an earlier staged night had the same model and k, Delta's change feed tells which users'
  interactions or profiles have changed since. These users are scored, and so are those who have an
  interaction that is more recent than `SETTLED_DAYS`, or that comes after the earlier night, or
  whose item may be listed again since.
- The change feed also tells which items have changed, and the two dates tell which have come in
  between (`jobs.nights.horizon`). A user is scored where such an item has to
  leave the user's list, or has another effect as part of the user's history. Whether a new item
  enters a list is decided by the workers: they compare it with the k-th score of every other user
  (`models.serving.entrants`).
- The rows of all other users are copied.
- Every user is scored where the model or k differs, where a table has no change feed of all
  versions in between (a VACUUM may have removed files of it), where so many items changed that an
  average list holds one of them, and where any item changed on a GPU: there the bits of a score
  depend on the item's place among the others.

Trade-off: the ids of the users to score pass through the driver.
"""
# ruff: noqa: S608  (names of tables and dates, nothing that people type)

import datetime as dt
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from jobs.nights.horizon import end_of, horizon
from jobs.nights.staged import StagedNight, staged_nights
from jobs.warehouse.dataset import read_items
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, USERS
from jobs.warehouse.views import connect
from models.data.catalogue_changes import CatalogueChanges, changes
from models.data.matrices import SETTLED_DAYS

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """An earlier night whose staged rows are copied, except for the users `to_score`.

    Where there are items `entering`, a user's rows are copied only if none of these reaches the
    user's k-th score. The rows are read in `table_version` of `recommendations_staged`.
    """

    night: StagedNight
    table_version: int
    to_score: frozenset[str]
    entering: frozenset[str]


def kept_lists(
    warehouse: Warehouse,
    night: StagedNight,
    later_items: frozenset[str],
    known: Collection[str],
    device: str,
) -> Kept | None:
    """Return what `night` can copy from an earlier one; None where all users have to be scored.

    `later_items` come after the night, `known` are the items with factors of their own; `device`
    is "cpu" or "cuda".
    """
    for earlier in _comparable_nights(warehouse, night):
        users = _changed_users(warehouse, earlier, night)
        items = _changed_items(warehouse, earlier, night, later_items, frozenset(known), device)
        if users is None or items is None:
            continue
        version = warehouse.version(RECOMMENDATIONS_STAGED)
        touched = _touched(warehouse, earlier, night, items, version)
        kept = Kept(earlier, version, frozenset(users | touched), items.entering)
        LOGGER.info(
            "copying lists of night %s: %d users scored again, %d items may enter other lists",
            earlier.run_date,
            len(kept.to_score),
            len(kept.entering),
        )
        return kept
    LOGGER.info("scoring every user: no earlier night has the same model, k and similar items")
    return None


def _comparable_nights(warehouse: Warehouse, night: StagedNight) -> Iterator[StagedNight]:
    """Yield the staged nights before `night` that were made of the same things, newest first."""
    for earlier in sorted(staged_nights(warehouse), key=lambda one: one.run_date, reverse=True):
        alike = (
            replace(earlier, run_date=night.run_date, inputs=night.inputs) == night
            and earlier.inputs.keys() == night.inputs.keys()
        )
        if earlier.run_date < night.run_date and alike:
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
    later_items: frozenset[str],
    known: frozenset[str],
    device: str,
) -> CatalogueChanges | None:
    """Return how the items changed between two nights; None where no list can be copied."""
    ids = _changed(warehouse, earlier, night, ITEMS, "item_id")
    if ids is None:
        return None
    version = night.inputs[ITEMS]
    try:
        were_later = horizon(warehouse, earlier.inputs[INTERACTIONS], earlier.run_date).later_items
        ids |= later_items ^ were_later
        if not ids:
            return CatalogueChanges()
        before = read_items(warehouse, earlier.inputs[ITEMS], ids - were_later)
    except (FileNotFoundError, duckdb.Error) as error:  # arrays and queries say it in two ways
        LOGGER.info("the tables of night %s are gone: %s", earlier.run_date, error)
        return None
    if device != "cpu":
        return None
    found = changes(before, read_items(warehouse, version, ids - later_items), known)
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
    """Return the users whose list of `earlier` can't be copied, whatever other items there are.

    They have an interaction less than SETTLED_DAYS old or later than that night, or whose item may
    be listed again since, an item in the list that leaves, or an item in the history whose effect
    has changed.
    """
    clock = dt.datetime.combine(earlier.run_date, dt.time(), dt.UTC)
    since = (clock - dt.timedelta(days=SETTLED_DAYS)).isoformat()
    versions = {
        INTERACTIONS: night.inputs[INTERACTIONS],
        RECOMMENDATIONS_STAGED: staged_version,
    }
    query = f"""
        SELECT user_id FROM {INTERACTIONS}
        WHERE ts > TIMESTAMPTZ '{since}' AND ts < TIMESTAMPTZ '{end_of(night.run_date)}'
        {_again(earlier, night)}
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


def _again(earlier: StagedNight, night: StagedNight) -> str:
    """Return the SQL for users with an item that may be listed on `night`, though not before."""
    if not night.repeat_days or night.asked == "last_visit":
        return ""
    since, until = (
        dt.datetime.combine(one.run_date, dt.time(), dt.UTC) - dt.timedelta(days=night.repeat_days)
        for one in (earlier, night)
    )
    return f"""UNION
        SELECT user_id FROM {INTERACTIONS}
        WHERE ts > TIMESTAMPTZ '{since}' AND ts <= TIMESTAMPTZ '{until}'"""


def _ids(item_ids: Collection[str]) -> pa.Table:
    return pa.table({"item_id": pa.array(list(item_ids), pa.string())})
