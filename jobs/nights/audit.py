"""The audit of a staged night: what must hold before readers may see it.

- Each check is a query for the users whose rows are wrong. A night passes when no query finds any.
- The checks read the versions of `items`, `interactions` and `users` from which the night was
  scored, so that an ingest since then changes nothing, and of them what was known on its date.
- All failed checks are reported at once, each with a count and one example.
- These say that a night is right. Whether it is a surprise, `jobs.nights.bounds` tells.

Trade-off: each check scans the night again; nine readable queries instead of one fast one.
"""
# ruff: noqa: S608  (names of tables and checked dates, nothing that people type)

import duckdb

from jobs.nights.horizon import end_of, later
from jobs.nights.staged import StagedNight
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, TABLES, USERS
from models.errors import InputError

_PAIR = "user_id || ', item ' || item_id"
_NULLS = " OR ".join(f"{name} IS NULL" for name in TABLES[RECOMMENDATIONS_STAGED].required)
_CHECKS = {
    "rows with a null or a score that isn't finite": f"""SELECT coalesce(user_id, 'null') FROM night
        WHERE {_NULLS} OR NOT isfinite(score)""",
    "rows of another model version": "SELECT user_id FROM night WHERE model_version <> $version",
    "users with a hole or a repeat in their ranks": """SELECT user_id FROM night GROUP BY user_id
        HAVING min(rank) <> 1 OR max(rank) <> count(*) OR count(DISTINCT rank) <> count(*)""",
    "items twice in a user's list": f"""SELECT {_PAIR} FROM night
        GROUP BY user_id, item_id HAVING count(*) > 1""",
    "scores that rise with the rank": """SELECT user_id FROM (SELECT user_id,
        score > lag(score) OVER (PARTITION BY user_id ORDER BY rank) AS rises FROM night)
        WHERE rises""",
    "items that aren't available": f"""SELECT {_PAIR} FROM night WHERE NOT EXISTS (
        FROM available AS i WHERE i.item_id = night.item_id)""",
    "items that the user has had": f"""SELECT {_PAIR} FROM night WHERE EXISTS (
        FROM had_lately AS s WHERE s.user_id = night.user_id AND s.item_id = night.item_id)""",
    "users that nobody knows": """SELECT DISTINCT user_id FROM night
        WHERE user_id NOT IN (SELECT user_id FROM expected)""",
    "users with fewer or more rows than due": """SELECT user_id FROM expected
        LEFT JOIN (SELECT user_id, count(*) AS found FROM night GROUP BY user_id) USING (user_id)
        WHERE coalesce(found, 0) <> due""",
}


def audit(tables: duckdb.DuckDBPyConnection, night: StagedNight) -> dict[str, int]:
    """Check the staged `night` in `tables` and return how many `users` and `rows` it has.

    Raises InputError that lists every failed check, with its count and an example.
    """
    _make_views(tables, night)
    users, rows = tables.sql("SELECT count(DISTINCT user_id), count(*) FROM night").fetchall()[0]
    failures = []
    for name, query in _CHECKS.items():
        values = {"version": night.model_version} if "$version" in query else {}
        count, example = tables.execute(
            f"SELECT count(*), min(key) FROM ({query}) AS offending(key)", values
        ).fetchall()[0]
        if count:
            failures.append(f"{count} {name} (user {example!r})")
    if failures:
        raise InputError(
            f"night {night.run_date} failed its audit and stays invisible: {'; '.join(failures)}; "
            f"look at `{RECOMMENDATIONS_STAGED}`, then run `nightrank score` again"
        )
    return {"users": users, "rows": rows}


def _make_views(tables: duckdb.DuckDBPyConnection, night: StagedNight) -> None:
    """Make the views of the checks: what was known on the night's date, and what is staged.

    `past` has the interactions until then, `had_lately` those that keep their item off the list,
    `available` the items that could be listed, `night` the staged rows, and `expected` how many
    rows each user must have.
    """
    date = night.run_date
    profiles = (
        f"UNION SELECT user_id FROM {USERS} ANTI JOIN ({later('user_id', date)}) USING (user_id)"
    )
    tables.execute(
        f"CREATE TEMP VIEW past AS SELECT * FROM {INTERACTIONS} "
        f"WHERE ts < TIMESTAMPTZ '{end_of(date)}'"
    )
    tables.execute(f"CREATE TEMP VIEW had_lately AS SELECT * FROM past {lately(night)}")
    tables.execute(
        f"CREATE TEMP VIEW available AS SELECT item_id FROM {ITEMS} "
        f"ANTI JOIN ({later('item_id', date)}) USING (item_id) WHERE available"
    )
    tables.execute(
        f"CREATE TEMP VIEW night AS SELECT * FROM {RECOMMENDATIONS_STAGED} "
        f"WHERE run_date = DATE '{date}'"
    )
    tables.execute(
        f"""CREATE TEMP VIEW expected AS
        WITH seen AS (SELECT user_id, count(DISTINCT item_id) AS items FROM had_lately
                 SEMI JOIN available USING (item_id) GROUP BY user_id),
        everyone AS (SELECT user_id FROM past {profiles if USERS in night.inputs else ""})
        SELECT DISTINCT user_id, least({night.k},
            (SELECT count(*) FROM available) - coalesce(items, 0)) AS due
        FROM everyone LEFT JOIN seen USING (user_id)"""
    )


def lately(night: StagedNight) -> str:
    """Return the SQL that limits `past` to what keeps its item off a list of the `night`."""
    had = f"(value >= {night.had_from!r} OR value < 0)"
    if night.repeat_days is None:
        return f"WHERE {had}"
    if night.repeat_days == 0:
        return "WHERE false"
    days = f"INTERVAL {night.repeat_days:g} DAY"
    if night.asked == "last_visit":  # the last visit may be a view: hence no WHERE
        return f"QUALIFY {had} AND ts > max(ts) OVER (PARTITION BY user_id) - {days}"
    return f"WHERE {had} AND ts > TIMESTAMPTZ '{night.run_date} 00:00:00+00' - {days}"
