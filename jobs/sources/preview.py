"""What an ingest would do, for `ingest --dry-run`: columns, sample rows, counts, bad rows.

- Rows are shown as they would stand in the tables, the first in the order of their keys.
- Counts are of all rows, not of a sample: what is bad here would be rejected.

Trade-off: the source is read as for an ingest, twice where repetitions are counted.
"""

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from jobs.sources.columns import RawTable
from jobs.sources.validation import CheckedTable
from jobs.warehouse.tables import INTERACTIONS, TABLES

SHOWN = 10


def preview(raw: RawTable, table: CheckedTable, threshold: float) -> dict[str, Any]:
    """Return what would become of one table of a source, as plain values.

    `threshold` is the least value of a positive.
    """
    reasons = table.reasons()
    good = reasons.pop(None, 0)
    bad = {str(reason): count for reason, count in sorted(reasons.items(), key=lambda r: -r[1])}
    matched = raw.matched()
    shown: dict[str, Any] = {
        "origin": table.origin,
        "columns": {name: one for name, one in matched.fields.items() if name not in matched.made},
        "made": {name: one.told() for name, one in matched.made.items()},
        "others": list(matched.others),
        "good": good,
        "rejected": bad,
        "repetitions": raw.frame.count() - good - sum(bad.values()),
        "rows": _first_rows(table.good, list(TABLES[table.name].key)),
    }
    if bad:
        shown["bad_row"] = ": ".join(reversed(table.example()))
    if table.name == INTERACTIONS:
        shown |= _interactions(table.good, threshold)
    return shown


def lines(name: str, shown: dict[str, Any]) -> list[str]:
    """Return the preview of the table `name` as lines for people."""
    fields = ", ".join(f"{field} from `{column}`" for field, column in shown["columns"].items())
    found = [f"{name}: {shown['good']} rows of {shown['origin']}", f"  columns: {fields}"]
    found += [f"  {name} is {how}" for name, how in shown["made"].items()]
    if shown["others"]:
        found.append(f"  other columns: {', '.join(shown['others'])}")
    if "first" in shown:
        found.append(f"  from {shown['first']} to {shown['last']}")
        found.append(f"  {shown['users']} users, {shown['items']} items")
        found.append(f"  {shown['positives']} positives (value at least {shown['threshold']:g})")
        if shown["good"] and not shown["positives"]:
            found.append(f"  no positive: set positive_threshold to at most {shown['greatest']:g}")
    if shown["repetitions"]:
        found.append(f"  {shown['repetitions']} repetitions of a row, counted once")
    found += [f"  rejected: {count} rows: {why}" for why, count in shown["rejected"].items()]
    if "bad_row" in shown:
        found.append(f"  for example {shown['bad_row']}")
    return found + [f"  {row}" for row in shown["rows"]]


def _first_rows(good: DataFrame, key: list[str]) -> list[dict[str, Any]]:
    rows = good.drop("ingest_id").orderBy(*key).limit(SHOWN).toArrow().to_pylist()
    return [{name: _short(value) for name, value in row.items()} for row in rows]


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > SHOWN * SHOWN:
        return value[: SHOWN * SHOWN] + "..."
    return value.isoformat() if hasattr(value, "isoformat") else value


def _interactions(good: DataFrame, threshold: float) -> dict[str, Any]:
    row = good.agg(
        fn.min("ts").alias("first"),
        fn.max("ts").alias("last"),
        fn.max("value").alias("greatest"),
        fn.count_if(fn.col("value") >= threshold).alias("positives"),
        fn.countDistinct("user_id").alias("users"),
        fn.countDistinct("item_id").alias("items"),
    ).toArrow().to_pylist()[0]  # fmt: skip
    return {**{name: _short(value) for name, value in row.items()}, "threshold": threshold}
