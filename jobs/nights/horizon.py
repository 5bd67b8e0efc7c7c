"""What a night may know: interactions until the end of its date, and who and what was there.

- A night of the date D knows the interactions before the end of D (UTC).
- A user or an item is there by then if its first interaction is, or if it has no interaction at
  all: nothing says then that it came later. So the newest night lists everybody, and an earlier one
  leaves out whoever has later interactions alone.
- A date before the first interaction is refused. So is one more than a day ahead of the clock, and
  a model that was trained on later interactions, unless a setting allows it. Interactions that end
  long before the date are no error: a source may be late, and the night must go on.

Trade-off: dates of interactions are all that is known of the past. A profile, a text or an
attribute stands as it does today, and an item that waited long for its first interaction is
missing from the nights of that time. Ids of what comes later pass through the driver.
"""
# ruff: noqa: S608  (names of tables and columns, and dates, nothing that people type)

import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.queries import open_tables
from jobs.warehouse.tables import INTERACTIONS, USERS
from models.errors import InputError
from models.serving.bundle import Bundle

LOGGER = logging.getLogger(__name__)

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """The dates (UTC) of the first and of the newest interaction."""

    first: dt.date
    newest: dt.date

    @property
    def newest_night(self) -> dt.date:
        """The night that comes after all interactions, which is the default."""
        return self.newest + DAY


@dataclass(frozen=True)
class Horizon:
    """What a night of `date` knows of `interactions`: before `end`, without who comes later."""

    date: dt.date
    interactions: Span
    end: dt.datetime
    later_users: frozenset[str]
    later_items: frozenset[str]


def end_of(date: dt.date) -> dt.datetime:
    """Return the first moment after `date` (UTC)."""
    return dt.datetime.combine(date + DAY, dt.time(), dt.UTC)


def midnight(date: dt.date) -> float:
    """Return the first moment of `date` (UTC) in seconds since 1970."""
    return dt.datetime.combine(date, dt.time(), dt.UTC).timestamp()


def later(column: str, date: dt.date) -> str:
    """Return the SQL for the values of `column` whose every interaction comes after `date`."""
    return (
        f"SELECT {column} FROM {INTERACTIONS} "
        f"GROUP BY {column} HAVING min(ts) >= TIMESTAMPTZ '{end_of(date).isoformat()}'"
    )


def span(warehouse: Warehouse, version: int) -> Span:
    """Return the span of `interactions` at `version`; InputError where the table is empty."""
    query = f"SELECT CAST(min(ts) AS DATE), CAST(max(ts) AS DATE) FROM {INTERACTIONS}"
    with open_tables(warehouse, {INTERACTIONS: version}) as tables:
        first, newest = tables.sql(query).fetchall()[0]
    if first is None:
        raise InputError(f"table `{INTERACTIONS}` is empty: run `nightrank ingest SOURCE` first")
    return Span(first, newest)


def horizon(warehouse: Warehouse, version: int, date: dt.date) -> Horizon:
    """Return what a night of `date` knows of `interactions` at `version`."""
    interactions = span(warehouse, version)
    if interactions.newest <= date:  # by far the most nights, and spares two scans
        return Horizon(date, interactions, end_of(date), frozenset(), frozenset())
    with open_tables(warehouse, {INTERACTIONS: version}) as tables:
        users, items = (
            frozenset(str(found) for (found,) in tables.sql(later(column, date)).fetchall())
            for column in ("user_id", "item_id")
        )
    return Horizon(date, interactions, end_of(date), users, items)


def count_users(warehouse: Warehouse, versions: Mapping[str, int], known: Horizon) -> int:
    """Return how many users a night lists; `versions` may lack `users`."""
    tables = {name: versions[name] for name in (INTERACTIONS, USERS) if name in versions}
    everyone = " UNION ALL ".join(f"SELECT user_id FROM {name}" for name in tables)
    with open_tables(warehouse, tables) as opened:
        found = opened.sql(f"SELECT count(DISTINCT user_id) FROM ({everyone})").fetchall()[0][0]
    return int(found) - len(known.later_users)


def refuse_date(date: dt.date, interactions: Span, future_allowed: bool) -> None:
    """Raise InputError where the night `date` knows nothing, or lies more than a day ahead.

    Logs a warning where the newest interaction is older than the day before the night.
    """
    if date < interactions.first:
        raise InputError(
            f"--run-date {date}: the first interaction is of {interactions.first}, and a night "
            "before that knows nothing: choose a later date"
        )
    today = dt.datetime.now(dt.UTC).date()
    if date > max(today + DAY, interactions.newest_night) and not future_allowed:
        raise InputError(
            f"--run-date {date}: that is in the future, since today is {today} (UTC): choose "
            f"another date, such as {interactions.newest_night}, or set `allow_future_night`"
        )
    if date > interactions.newest_night:
        LOGGER.warning(
            "the newest interaction is of %s, %d days before the night %s: is the source late?",
            interactions.newest, (date - interactions.newest).days, date,
        )  # fmt: skip


def refuse_model(bundle: Bundle, known: Horizon, later_allowed: bool) -> str:
    """Return until when the model was trained, as text; "unknown" where it doesn't say so.

    Raises InputError where it was trained on later interactions and that isn't allowed.
    """
    seconds, date = bundle.manifest.trained_until, known.date
    if seconds is None:
        if date < known.interactions.newest:
            LOGGER.warning(
                "model version %s doesn't say until when it was trained: it may know what came "
                "after %s", bundle.version, date,
            )  # fmt: skip
        return "unknown"
    until = dt.datetime.fromtimestamp(seconds, dt.UTC)
    if until >= known.end and not later_allowed:
        raise InputError(
            f"--run-date {date}: the champion {bundle.version} was trained on interactions until "
            f"{until.date()}: promote an earlier version, or set `allow_later_model`"
        )
    return until.isoformat()
