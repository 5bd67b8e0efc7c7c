"""Two nights side by side: who got another list, and which items came and went.

- Users of both nights are compared list by list, by items alone: another order or another score is
  no change.
- An item enters or leaves a list, and it enters or leaves the night when no list had it before, or
  none has it any more.

Trade-off: a user who is in one night alone is counted as come or gone, and in no other figure.
"""
# ruff: noqa: S608  (names of tables and checked dates, nothing that people type)

import datetime as dt
from dataclasses import dataclass

import duckdb

from jobs.warehouse.tables import ITEMS, RECOMMENDATIONS

_USERS = """
SELECT count(*) FILTER (old AND new),
       count(*) FILTER (new AND NOT old), count(*) FILTER (old AND NOT new),
       count(*) FILTER (old AND new AND (entered > 0 OR dropped > 0)),
       coalesce(sum(entered) FILTER (old AND new), 0),
       coalesce(sum(dropped) FILTER (old AND new), 0),
       coalesce(sum(entered) FILTER (old AND new) / sum(entered + kept) FILTER (old AND new), 0),
       coalesce(avg(kept / (kept + greatest(entered, dropped))) FILTER (old AND new), 0)
FROM (SELECT user_id, bool_or(was) AS old, bool_or(is_now) AS new,
             count(*) FILTER (was AND is_now) AS kept,
             count(*) FILTER (is_now AND NOT was) AS entered,
             count(*) FILTER (was AND NOT is_now) AS dropped
      FROM pairs GROUP BY user_id)"""
_ITEMS = f"""
SELECT item_id, coalesce(title, ''), lists_before, lists_after
FROM (SELECT item_id, count(*) FILTER (was) AS lists_before, count(*) FILTER (is_now) AS lists_after
      FROM pairs GROUP BY item_id) LEFT JOIN {ITEMS} USING (item_id)
WHERE lists_before <> lists_after
ORDER BY abs(lists_after - lists_before) DESC, item_id"""


@dataclass(frozen=True)
class ItemChange:
    """An item, and how many lists of each night have it."""

    item_id: str
    title: str
    lists_before: int
    lists_after: int


@dataclass(frozen=True)
class Comparison:
    """What changed between two nights; `items` are those whose number of lists changed.

    `users` are in both nights, and the figures from `users_changed` on are of these. `churn` is the
    share of the entries that are new in their list, `mean_overlap` the mean share of a list, of the
    longer one, that stayed.
    """

    items: list[ItemChange]
    users: int
    users_entered: int
    users_left: int
    users_changed: int
    entries_entered: int
    entries_left: int
    churn: float
    mean_overlap: float

    @property
    def items_entered(self) -> list[str]:
        """The items that no list had before."""
        return [item.item_id for item in self.items if not item.lists_before]

    @property
    def items_left(self) -> list[str]:
        """The items that no list has any more."""
        return [item.item_id for item in self.items if not item.lists_after]


def compare(tables: duckdb.DuckDBPyConnection, before: dt.date, after: dt.date) -> Comparison:
    """Compare the nights `before` and `after`, which have rows in `recommendations`."""
    tables.execute(
        f"""CREATE TEMP TABLE pairs AS
        SELECT user_id, item_id, bool_or(run_date = DATE '{before}') AS was,
               bool_or(run_date = DATE '{after}') AS is_now
        FROM {RECOMMENDATIONS} WHERE run_date IN (DATE '{before}', DATE '{after}')
        GROUP BY user_id, item_id"""
    )
    changed = [ItemChange(*row) for row in tables.sql(_ITEMS).fetchall()]
    return Comparison(changed, *tables.sql(_USERS).fetchall()[0])
