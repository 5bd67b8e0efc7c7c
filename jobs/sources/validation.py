"""Checks rows against the schema of their table: good rows get types, bad rows get reasons.

- Columns are matched by name (`jobs.sources.columns`).
- Every field arrives as text and is read the same way for all formats (`jobs.sources.fields`).
- Of rows with the same key, equal ones are merged into one. Of different ones the greatest is kept
  (by value, then by text), whatever the order of the rows, and the others are rejected.

Trade-off: Spark expressions collect all reasons against a row in one pass. A schema library would
name columns, but not rows. Delta's NOT NULLs and CHECKs guard the tables once more.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from jobs.sources import fields as read
from jobs.sources.columns import CORRUPT, TAKES_ATTRIBUTES, Matched, RawTable
from jobs.warehouse.merge import contents
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TABLES
from models.errors import InputError

_REASON, _ROW = "_reason", "_row"
_KEPT = ("title", "text", "attributes", "features")
_WORDLESS = "title and text are both empty"
_SHOWN = 200  # characters of a row in a message


@dataclass(frozen=True)
class CheckedTable:
    """A frame with the table's columns, `_reason` (null in good rows) and `_row` as JSON.

    `silent` are the table's columns about which the source says nothing at all.
    """

    name: str
    origin: str
    frame: DataFrame
    silent: tuple[str, ...] = ()

    @property
    def good(self) -> DataFrame:
        """Return the good rows, in the columns of the table."""
        columns = TABLES[self.name].column_names
        return self.frame.where(fn.col(_REASON).isNull()).select(columns)

    @property
    def rejected(self) -> DataFrame:
        """Return the bad rows, in the columns of `rejected_rows` but for `ingest_id`."""
        columns = [fn.lit(self.name).alias("table"), fn.col(_REASON).alias("reason")]
        bad = self.frame.where(fn.col(_REASON).isNotNull())
        return bad.select(*columns, fn.col(_ROW).alias("row"))

    def reasons(self) -> dict[str | None, int]:
        """Return the number of rows by reason; None stands for the good ones.

        All rows are read here. Raises InputError where a file turns out to be damaged.
        """
        try:
            rows = self.frame.groupBy(_REASON).count().collect()
        except Exception as error:
            if "FAILED_READ_FILE" not in str(error):
                raise
            raise InputError(f"{self.origin} can't be read: it is damaged or not UTF-8") from error
        return {row[_REASON]: row["count"] for row in rows}

    def example(self) -> tuple[str, str]:
        """Return the reason and the JSON of a bad row, the first in the order of both."""
        first = self.rejected.orderBy("reason", "row").first()
        return ("", "") if first is None else (first["reason"], first["row"][:_SHOWN])


def check(raw: RawTable, ingest_id: str, latest: dt.datetime | None = None) -> CheckedTable:
    """Return the rows of `raw`, checked and with their types, lazily.

    Times after `latest` are bad. Raises InputError that names the origin and a column that is
    unknown, repeated, missing or without a name.
    """
    matched = raw.matched()
    fields = {target: fn.trim(read.named(column)) for target, column in matched.fields.items()}
    for name in ("user_id", "item_id", "head", "relation", "tail", "title", "text"):
        if name in fields:  # not trimmed
            fields[name] = read.named(matched.fields[name])
    typed, reasons = _typed(matched, fields, latest)
    texts = [name for name in raw.frame.columns if name != CORRUPT]
    reasons += [read.not_utf8(name) for name in texts]
    values = {**typed, "ingest_id": fn.lit(ingest_id)}
    row = fn.to_json(fn.struct(*(read.named(name) for name in texts)))
    if CORRUPT in raw.frame.columns:
        reasons = [fn.when(read.named(CORRUPT).isNotNull(), "the row can't be parsed"), *reasons]
        row = fn.coalesce(read.named(CORRUPT), row)
    reason = fn.nullif(fn.concat_ws("; ", *reasons), fn.lit(""))
    judged = raw.frame.select(
        *(values[name].alias(name) for name in TABLES[raw.name].column_names),
        reason.alias(_REASON),
        fn.when(reason.isNotNull(), fn.make_valid_utf8(row)).alias(_ROW),
    )
    return CheckedTable(raw.name, raw.origin, _unique(raw.name, judged), _silent(matched))


def reject_unknown_items(interactions: CheckedTable, items: list[DataFrame]) -> CheckedTable:
    """Return `interactions` with those rows rejected whose item_id is in none of `items`."""
    frame = interactions.frame.withColumn("_known", fn.lit(False))
    if items:
        ids = reduce(DataFrame.union, (one.select("item_id") for one in items)).distinct()
        known = ids.withColumn("_known", fn.lit(True))
        frame = interactions.frame.join(known, "item_id", "left")
    unknown = fn.col(_REASON).isNull() & ~fn.coalesce("_known", fn.lit(False))
    judged = _reject(interactions.name, frame, unknown, "item_id is not among the items")
    return CheckedTable(interactions.name, interactions.origin, judged)


def completed(table: CheckedTable, there: DataFrame | None) -> CheckedTable:
    """Return items or users that keep what the source says nothing about.

    `there` is the table as it stands, None where it has not been made. A column that the source
    lacks stays as it was. A row that says but whether an item is on sale keeps all its words; such
    a row of an unknown item is rejected.
    """
    columns = TABLES[table.name].column_names
    (key,) = TABLES[table.name].key
    kept = [name for name in columns if name in _KEPT]
    if there is None:
        there = table.frame.select(*columns).limit(0)
    before = [fn.col(name).alias(f"_old_{name}") for name in kept]
    joined = table.frame.join(there.select(key, *before, fn.lit(True).alias("_known")), key, "left")
    good, known = fn.col(_REASON).isNull(), fn.coalesce("_known", fn.lit(False))
    wordless = fn.lit(False)
    if table.name == ITEMS:
        wordless = good & _blank(fn.col("title")) & _blank(fn.col("text"))
    values = {name: fn.col(name) for name in (*columns, _REASON, _ROW)}
    for name in kept:
        stays = good & known & (wordless | fn.lit(name in table.silent)) & _says_nothing(name)
        values[name] = fn.when(stays, fn.coalesce(f"_old_{name}", name)).otherwise(fn.col(name))
    values["_lost"] = wordless & ~known
    filled = joined.select(*(value.alias(name) for name, value in values.items()))
    judged = _reject(table.name, filled, fn.col("_lost"), _WORDLESS)
    return CheckedTable(table.name, table.origin, judged)


def count_rejected(tables: Sequence[CheckedTable], most: float) -> int:
    """Return the number of bad rows; InputError where their share of a table is above `most`."""
    rejected = 0
    for table in tables:
        reasons = table.reasons()
        bad = sum(count for reason, count in reasons.items() if reason is not None)
        share = bad / sum(reasons.values()) if reasons else 0.0
        if not reasons:
            raise InputError(f"{table.origin} is empty: it holds no row of table `{table.name}`")
        if None not in reasons or share > most:
            reason, row = table.example()
            all_of = "all " if None not in reasons else ""
            bound = "" if all_of else f", a share of {share:.2g} above max_rejected_share {most:g}"
            raise InputError(
                f"{table.origin}: {all_of}{bad} rows of table `{table.name}` are bad{bound}; "
                f"for example {row}: {reason}"
            )
        rejected += bad
    return rejected


def _typed(
    matched: Matched, fields: dict[str, Column], latest: dt.datetime | None
) -> tuple[dict[str, Column], list[Column]]:
    """Return the typed columns of the table and the reasons against a row, null where none."""
    typed: dict[str, Column] = {}
    reasons: list[Column] = []
    takes = matched.table in TAKES_ATTRIBUTES
    others = [(name.strip(), read.named(name)) for name in matched.others if takes]
    for name in TABLES[matched.table].column_names:
        if name == "ingest_id":
            continue
        value, reason = _field(name, fields, others, latest)
        typed[name] = value
        reasons += reason
    if matched.table == ITEMS:
        silent = _blank(typed["title"]) & _blank(read.given(fields, "text"))
        # a row that says but whether the item is on sale is judged by `completed`
        silent &= _blank(read.given(fields, "available"))
        reasons.append(fn.when(silent, _WORDLESS))
    return typed, reasons


def _field(
    name: str,
    fields: dict[str, Column],
    others: list[tuple[str, Column]],
    latest: dt.datetime | None,
) -> tuple[Column, list[Column]]:
    if name == "text":
        return read.described(read.given(fields, name), others), []
    if name == "title":
        return read.given(fields, name), []
    if name == "attributes":
        return read.attributes(fields.get(name), others)
    if name == "ts":
        return read.timestamp(fields[name], latest)
    optional = {"value": read.value, "available": read.available, "features": read.features}
    if name in optional:
        return optional[name](fields.get(name))
    if name == "relation":
        return read.label(fields[name], name)
    return read.identifier(fields[name], name)


def _silent(matched: Matched) -> tuple[str, ...]:
    """Return the columns of `_KEPT` about which a source with these columns says nothing."""
    given = {*matched.fields}
    if matched.others:  # they are attributes, and sentences of the text
        given |= {"text", "attributes"}
    return tuple(name for name in _KEPT if name not in given)


def _says_nothing(name: str) -> Column:
    if name == "features":
        return fn.col(name).isNull()
    return fn.size(name) == 0 if name == "attributes" else _blank(fn.col(name))


def _blank(text: Column) -> Column:
    return fn.trim(fn.coalesce(text, fn.lit(""))) == ""


def _unique(name: str, frame: DataFrame) -> DataFrame:
    """Reject all but the greatest of different rows with one key; drop repetitions of a row."""
    key = list(TABLES[name].key)
    content = contents(name)
    order = [fn.col("value").desc()] if name == INTERACTIONS else []
    # bad rows each get a group of their own: they are all kept
    bad = fn.when(fn.col(_REASON).isNotNull(), fn.monotonically_increasing_id())
    marked = frame.withColumn("_bad", bad).withColumn("_content", content)
    window = Window.partitionBy(*key, "_bad").orderBy(*order, fn.col("_content").desc())
    ranked = marked.withColumns(
        {"_n": fn.row_number().over(window), "_first": fn.first("_content").over(window)}
    )
    same = fn.col("_content") == fn.col("_first")
    kept = ranked.where((fn.col("_n") == 1) | ~same)
    why = f"another row of this source has the same {', '.join(key)}"
    return _reject(name, kept, ~same, why)


def _reject(name: str, frame: DataFrame, condition: Column, reason: str) -> DataFrame:
    columns = TABLES[name].column_names
    row = fn.to_json(fn.struct(*(fn.col(column) for column in columns if column != "ingest_id")))
    return frame.select(
        *columns,
        fn.when(condition, fn.lit(reason)).otherwise(fn.col(_REASON)).alias(_REASON),
        fn.when(condition, row).otherwise(fn.col(_ROW)).alias(_ROW),
    )
