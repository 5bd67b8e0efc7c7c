"""Whose lists a night may take over from a night before, and who has to be scored again.

- A list follows from the user's interactions and profile, the items, the model, k, and the days
  since the newest interaction until these have settled (`SETTLED_DAYS`).
- Where an earlier staged night had the same model, k and items, Delta's change feed tells whose
  interactions or profile have changed since; they and the unsettled are scored, all others' rows
  are copied.
- Everything else is a full night: another model or k, an item that changed, a table without a
  change feed of all versions in between.

Trade-off: one changed item scores everybody, since it may enter any list, and a bound on the k-th
score would need every user's factors (docs/scale.md).
"""
# ruff: noqa: S608  (names of tables, nothing that people type)

import datetime as dt
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from jobs.nights import StagedNight, staged_nights
from jobs.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, USERS
from jobs.views import connect
from jobs.warehouse import Warehouse
from models.serving import SETTLED_DAYS

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A night whose staged rows stand for all users but those to `score` again.

    `table_version` is that of `recommendations_staged` in which they are read.
    """

    night: StagedNight
    table_version: int
    score: frozenset[str]


def kept_lists(warehouse: Warehouse, night: StagedNight) -> Kept | None:
    """Return what `night` may take over from an earlier one; None where all have to be scored."""
    for earlier in _candidates(warehouse, night):
        changed = _changed_users(warehouse, earlier, night)
        if changed is not None:
            score = frozenset(changed | _unsettled(warehouse, earlier, night))
            LOGGER.info(
                "keeping the lists of night %s but for %d users", earlier.run_date, len(score)
            )
            return Kept(earlier, warehouse.version(RECOMMENDATIONS_STAGED), score)
    LOGGER.info("scoring every user: no earlier night with the same model, k and items")
    return None


def _candidates(warehouse: Warehouse, night: StagedNight) -> Iterator[StagedNight]:
    """Yield the staged nights before `night` that were made of the same things, newest first."""
    for earlier in sorted(staged_nights(warehouse), key=lambda one: one.run_date, reverse=True):
        same = (earlier.model_version, earlier.k) == (night.model_version, night.k)
        tables = earlier.inputs.keys() == night.inputs.keys()
        if earlier.run_date < night.run_date and same and tables:
            yield earlier


def _changed_users(
    warehouse: Warehouse, earlier: StagedNight, night: StagedNight
) -> set[str] | None:
    """Return the users whose rows changed between two nights; None where it can't be told."""

    def changed(name: str, column: str) -> set[str] | None:
        since, until = earlier.inputs[name], night.inputs[name]
        return warehouse.changed(name, since, until, column) if since <= until else None

    if changed(ITEMS, "item_id") != set():
        return None
    found: set[str] = set()
    for name in {INTERACTIONS, USERS} & night.inputs.keys():
        users = changed(name, "user_id")
        if users is None:
            return None
        found |= users
    return found


def _unsettled(warehouse: Warehouse, earlier: StagedNight, night: StagedNight) -> set[str]:
    """Return the users whose newest interaction was less than SETTLED_DAYS old at `earlier`."""
    clock = dt.datetime.combine(earlier.run_date, dt.time(), dt.UTC)
    since = (clock - dt.timedelta(days=SETTLED_DAYS)).isoformat()
    query = f"SELECT DISTINCT user_id FROM {INTERACTIONS} WHERE ts > TIMESTAMPTZ '{since}'"
    with connect(warehouse, {INTERACTIONS: night.inputs[INTERACTIONS]}) as tables:
        return {str(user) for (user,) in tables.sql(query).fetchall()}
