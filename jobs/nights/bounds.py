"""Whether a staged night is a surprise: its figures, held against the nights before it.

- Users, rows, available items and different items listed, against the medians of the newest earlier
  nights that are shown, as their lineage has them. Only fewer is a surprise.
- Users who are missing and entries that are new (churn), against the last of these nights.
- How alike the users' lists are: the mean overlap of two lists and the share of lists with the top
  item, 0 for what chance would give and 1 where everybody has the same.
- Each bound is a setting. Who publishes may accept one that is broken, with a reason.

Trade-off: shares of a few say nothing, so a figure of fewer than 20 users or items isn't held
against its bound; and a first night is held against nothing but itself.
"""
# ruff: noqa: S608  (names of tables and checked dates, nothing that people type)

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import duckdb

from jobs.settings.audit import AuditOptions
from jobs.warehouse.pointer import PublishedNights
from jobs.warehouse.tables import RECOMMENDATIONS
from models.errors import InputError

SETTING = "audit_"
CHECKS = tuple(
    name.removeprefix(SETTING) for name in AuditOptions.model_fields if name != "audit_nights"
)
ITEMS_AVAILABLE, ITEMS_LISTED, USERS_LISTED = "items", "items_listed", "users"
_LEAST = 20

_ALIKE = """
SELECT count(*), coalesce(max(lists), 0), coalesce(sum(lists * (lists - 1)), 0)
FROM (SELECT item_id, count(*) AS lists FROM night GROUP BY item_id)"""
_LAST = f"""
WITH last AS (SELECT user_id, item_id FROM {RECOMMENDATIONS} WHERE run_date = $night),
     there AS (SELECT DISTINCT user_id FROM last),
     both_nights AS (SELECT user_id, item_id FROM night SEMI JOIN there USING (user_id))
SELECT (SELECT count(*) FROM there),
       (SELECT count(*) FROM there ANTI JOIN night USING (user_id)),
       (SELECT count(*) FROM both_nights),
       (SELECT count(*) FROM both_nights ANTI JOIN last USING (user_id, item_id))"""


@dataclass(frozen=True)
class Counts:
    """What a night holds: users, rows, items available, different items in its lists."""

    users: int
    rows: int
    items: int
    items_listed: int

    def recorded(self) -> dict[str, int]:
        """Return the counts as `runs` keeps them."""
        return {
            RECOMMENDATIONS: self.rows,
            USERS_LISTED: self.users,
            ITEMS_AVAILABLE: self.items,
            ITEMS_LISTED: self.items_listed,
        }


@dataclass(frozen=True)
class Figure:
    """A figure of a night by the name of its check, and the `bound` that it may not exceed."""

    check: str
    value: float
    bound: float
    of_what: str

    @property
    def exceeds(self) -> bool:
        """Whether the night is a surprise."""
        return self.value > self.bound

    def __str__(self) -> str:
        allowed = f"{SETTING}{self.check} allows {self.bound:g}"
        return f"{self.check} {self.value:.3f} ({self.of_what}), {allowed}"


def count(tables: duckdb.DuckDBPyConnection, users: int, rows: int) -> Counts:
    """Return what the audited night holds; `tables` has the views of the audit."""
    items = tables.sql("SELECT count(*) FROM available").fetchall()[0][0]
    listed = tables.sql("SELECT count(DISTINCT item_id) FROM night").fetchall()[0][0]
    return Counts(users, rows, items, listed)


def figures(
    tables: duckdb.DuckDBPyConnection,
    counts: Counts,
    run_date: dt.date,
    nights: PublishedNights,
    bounds: AuditOptions,
) -> list[Figure]:
    """Return the figures of the night `run_date` that can be told; `tables` as for `count`."""
    earlier = sorted((night for night in nights.shown if night < run_date), reverse=True)
    before = [nights.published[night].counts for night in earlier[: bounds.audit_nights]]
    limits = {check: float(getattr(bounds, SETTING + check)) for check in CHECKS}
    found = [*_fewer(counts, before, limits), *_alike(tables, counts, limits)]
    if earlier:
        found += _since(tables, earlier[0], limits)
    return found


def accepted(found: list[Figure], accept: Mapping[str, str]) -> str | None:
    """Return what was accepted, as the lineage says it: figures, bounds and the reasons given.

    Raises InputError that names every figure that exceeds its bound and isn't accepted.
    """
    broken = [figure for figure in found if figure.exceeds]
    refused = [str(figure) for figure in broken if figure.check not in accept]
    if refused:
        raise InputError(
            f"the night failed its audit and stays staged: {'; '.join(refused)}; find out why, or "
            "publish it with `--accept CHECK=REASON`"
        )
    notes = [f"accepted {figure}: {accept[figure.check]}" for figure in broken]
    return "; ".join(notes) or None


def parse_accepted(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the reasons by check in texts CHECK=REASON.

    Raises InputError for a check that doesn't exist, and where a reason is missing.
    """
    found = {}
    for text in texts:
        check, _, reason = text.partition("=")
        if check not in CHECKS:
            raise InputError(f"--accept {check!r}: no such check; there are {', '.join(CHECKS)}")
        if not reason.strip():
            raise InputError(f"--accept {check}: say why, as {check}=REASON")
        found[check] = " ".join(reason.split())
    return found


def _fewer(
    counts: Counts, before: list[Mapping[str, int]], limits: Mapping[str, float]
) -> list[Figure]:
    names = {
        "users": USERS_LISTED, "rows": RECOMMENDATIONS,
        "catalogue": ITEMS_AVAILABLE, "coverage": ITEMS_LISTED,
    }  # fmt: skip
    now, found = counts.recorded(), []
    for check, name in names.items():
        past = [one[name] for one in before if name in one]
        usual = median(past) if past else 0
        if usual >= _LEAST:
            what = f"{now[name]} where {usual:g} were usual"
            found.append(Figure(check, 1 - now[name] / usual, limits[check], what))
    return found


def _alike(
    tables: duckdb.DuckDBPyConnection, counts: Counts, limits: Mapping[str, float]
) -> list[Figure]:
    if counts.users < _LEAST or counts.items_listed < 1:
        return []
    _, top, pairs = tables.sql(_ALIKE).fetchall()[0]
    length = counts.rows / counts.users
    chance = length / counts.items
    if chance > 1 / 2:  # lists of half the catalogue are alike whoever makes them
        return []
    overlap = pairs / (counts.users * (counts.users - 1)) / length
    share = top / counts.users
    return [
        Figure(check, (value - chance) / (1 - chance), limits[check], what)
        for check, value, what in (
            ("overlap", overlap, f"two users' lists share {overlap:.3f} of their items"),
            ("top_item", share, f"{top} of {counts.users} lists have the same item"),
        )
    ]


def _since(
    tables: duckdb.DuckDBPyConnection, last: dt.date, limits: Mapping[str, float]
) -> list[Figure]:
    users, missing, entries, new = tables.execute(_LAST, {"night": last}).fetchall()[0]
    found = []
    if users >= _LEAST:
        what = f"{missing} of {users} users of night {last}"
        found.append(Figure("missing_users", missing / users, limits["missing_users"], what))
    if users - missing >= _LEAST:
        what = f"{new} of {entries} entries are new since night {last}"
        found.append(Figure("churn", new / entries, limits["churn"], what))
    return found
