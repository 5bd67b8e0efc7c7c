"""Checks rows against the schema of their table: good rows get types, bad rows get reasons.

- Columns are matched by name (`jobs.sources.columns`).
- Every field arrives as text and is read the same way for all formats (`jobs.sources.fields`).
- Of rows with the same key, equal ones are merged into one. Of different ones the greatest is kept
  (by value, then by text), whatever the order of the rows, and the others are rejected. A row that
  says that its key is deleted comes before all others.

Trade-off: Spark expressions collect all reasons against a row in one pass. A schema library would
name columns, but not rows. Delta's NOT NULLs and CHECKs guard the tables once more.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from jobs.sources import fields as read
from jobs.sources.columns import CORRUPT, DELETED, TAKES_ATTRIBUTES, Matched, RawTable
from jobs.sources.plain_text import plain
from jobs.warehouse.merge import contents
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TABLES
from models.errors import InputError

REASON, ROW, GONE = "_reason", "_row", "_gone"
KEPT = ("title", "text", "attributes", "features")
WORDLESS = "title and text are both empty"
_SHOWN = 200  # characters of a row in a message


@dataclass(frozen=True)
class CheckedTable:
    """A frame with the table's columns, `_reason` (null in good rows), `_row` as JSON and `_gone`.

    `silent` are the table's columns about which the source says nothing at all, `absent` those that
    it has no column for. Items that are gone stay in the table, off sale.
    """

    name: str
    origin: str
    frame: DataFrame
    silent: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def good(self) -> DataFrame:
        """Return the good rows, in the columns of the table."""
        columns = TABLES[self.name].column_names
        stays = fn.lit(True) if self.name == ITEMS else ~fn.col(GONE)
        return self.frame.where(fn.col(REASON).isNull() & stays).select(columns)

    @property
    def deletes(self) -> bool:
        """Whether the source has a column that says what is gone."""
        return DELETED not in self.absent

    @property
    def gone(self) -> DataFrame:
        """Return the keys of the rows to delete."""
        leaves = fn.lit(False) if self.name == ITEMS else fn.col(GONE)
        return self.frame.where(fn.col(REASON).isNull() & leaves).select(*TABLES[self.name].key)

    @property
    def rejected(self) -> DataFrame:
        """Return the bad rows, in the columns of `rejected_rows` but for `ingest_id`."""
        columns = [fn.lit(self.name).alias("table"), fn.col(REASON).alias("reason")]
        bad = self.frame.where(fn.col(REASON).isNotNull())
        return bad.select(*columns, fn.col(ROW).alias("row"))

    def reasons(self) -> dict[str | None, int]:
        """Return the number of rows by reason; None stands for the good ones.

        All rows are read here. Raises InputError where a file turns out to be damaged.
        """
        try:
            rows = self.frame.groupBy(REASON).count().collect()
        except Exception as error:
            if "FAILED_READ_FILE" not in str(error):
                raise
            raise InputError(f"{self.origin} can't be read: it is damaged or not UTF-8") from error
        return {row[REASON]: row["count"] for row in rows}

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
    for name in ("user_id", "item_id", "head", "relation", "tail"):
        if name in fields:  # not trimmed
            fields[name] = read.named(matched.fields[name])
    for name in {"title", "text"} & fields.keys():
        fields[name] = plain(fields[name])
    gone, unreadable = read.flag(fields.get(DELETED), DELETED, default=False)
    gone = fn.coalesce(gone, fn.lit(False))
    typed, reasons = _typed(matched, fields, latest, gone)
    reasons += unreadable
    reasons = [*_of_no_kind(matched, fields), *reasons]
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
        gone.alias(GONE),
        reason.alias(REASON),
        fn.when(reason.isNotNull(), fn.make_valid_utf8(row)).alias(ROW),
    )
    names = TABLES[raw.name].column_names
    absent = tuple(name for name in (*names, DELETED) if name not in matched.fields)
    unique = _unique(raw.name, judged)
    return CheckedTable(raw.name, raw.origin, unique, _silent(matched), absent)


def _of_no_kind(matched: Matched, fields: dict[str, Column]) -> list[Column]:
    """Return the reasons against rows of a kind that has no value, null where they have one."""
    kinds = {name: one.column for name, one in matched.made.items() if one.column is not None}
    return [
        fn.when(fields[name].isNull(), f"`{column}` is none of the kinds that {name} is made of")
        for name, column in kinds.items()
    ]


def reject_unknown_items(interactions: CheckedTable, items: list[DataFrame]) -> CheckedTable:
    """Return `interactions` with those rows rejected whose item_id is in none of `items`."""
    frame = interactions.frame.withColumn("_known", fn.lit(False))
    if items:
        ids = reduce(DataFrame.union, (one.select("item_id") for one in items)).distinct()
        known = ids.withColumn("_known", fn.lit(True))
        frame = interactions.frame.join(known, "item_id", "left")
    unknown = fn.col(REASON).isNull() & ~fn.coalesce("_known", fn.lit(False))
    judged = reject(interactions.name, frame, unknown, "item_id is not among the items")
    return replace(interactions, frame=judged)


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
    matched: Matched, fields: dict[str, Column], latest: dt.datetime | None, gone: Column
) -> tuple[dict[str, Column], list[Column]]:
    """Return the typed columns of the table and the reasons against a row, null where none.

    Of a row that is `gone` the key alone has to be there.
    """
    typed: dict[str, Column] = {}
    reasons: list[Column] = []
    takes = matched.table in TAKES_ATTRIBUTES
    others = [(name.strip(), plain(read.named(name))) for name in matched.others if takes]
    for name in TABLES[matched.table].column_names:
        if name == "ingest_id":
            continue
        value, reason = _field(name, fields, others, latest, "text" in matched.made)
        if name not in TABLES[matched.table].key:
            reason = [fn.when(~gone, one) for one in reason]
        typed[name] = value
        reasons += reason
    if matched.table == ITEMS:
        silent = read.blank(typed["title"]) & read.blank(read.given(fields, "text"))
        # a row that says but whether the item is on sale is judged later, beside what is known
        silent &= read.blank(read.given(fields, "available")) & ~gone
        typed["available"] &= ~gone
        reasons.append(fn.when(silent, WORDLESS))
    return typed, reasons


def _field(
    name: str,
    fields: dict[str, Column],
    others: list[tuple[str, Column]],
    latest: dt.datetime | None,
    text_is_made: bool,
) -> tuple[Column, list[Column]]:
    if name == "text":
        return read.described(read.given(fields, name), [] if text_is_made else others), []
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
    """Return the columns of `KEPT` about which a source with these columns says nothing."""
    given = {*matched.fields}
    if matched.others:  # they are attributes, and sentences of the text
        given |= {"text", "attributes"}
    return tuple(name for name in KEPT if name not in given)


def _unique(name: str, frame: DataFrame) -> DataFrame:
    """Reject all but the greatest of different rows with one key; drop repetitions of a row."""
    key = list(TABLES[name].key)
    content = contents(name)
    order = [fn.col(GONE).desc(), *([fn.col("value").desc()] if name == INTERACTIONS else [])]
    # bad rows each get a group of their own: they are all kept
    bad = fn.when(fn.col(REASON).isNotNull(), fn.monotonically_increasing_id())
    marked = frame.withColumn("_bad", bad).withColumn("_content", content)
    window = Window.partitionBy(*key, "_bad").orderBy(*order, fn.col("_content").desc())
    ranked = marked.withColumns(
        {"_n": fn.row_number().over(window), "_first": fn.first("_content").over(window)}
    )
    same = fn.col("_content") == fn.col("_first")
    kept = ranked.where((fn.col("_n") == 1) | ~same)
    why = f"another row of this source has the same {', '.join(key)}"
    return reject(name, kept, ~same, why)


def reject(name: str, frame: DataFrame, condition: Column, reason: str) -> DataFrame:
    """Return the checked `frame` with the rows rejected for which the `condition` holds."""
    columns = TABLES[name].column_names
    row = fn.to_json(fn.struct(*(fn.col(column) for column in columns if column != "ingest_id")))
    return frame.select(
        *columns,
        GONE,
        fn.when(condition, fn.lit(reason)).otherwise(fn.col(REASON)).alias(REASON),
        fn.when(condition, row).otherwise(fn.col(ROW)).alias(ROW),
    )
