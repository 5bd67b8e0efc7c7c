"""Checks rows against the schema of their table: good rows get types, bad rows get reasons.

- Columns are matched by name, ignoring case: the table's own names and those in ALIASES. Any other
  column of items and users becomes an attribute and part of the text; of interactions and triples
  it is an error.
- Every field arrives as text and is read the same way for all formats (`jobs.sources.fields`).
- Of rows with the same key, equal ones are merged into one. Of different ones the greatest is kept
  (by value, then by text), whatever the order of the rows, and the others are rejected.

Trade-off: Spark expressions collect all reasons against a row in one pass. A schema library would
name columns, but not rows. Delta's NOT NULLs and CHECKs guard the tables once more.
"""

from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from jobs.sources import fields as read
from jobs.warehouse.merge import contents
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TABLES, TRIPLES, USERS
from models.errors import InputError

CORRUPT = "_corrupt_record"  # the whole row as text, where a reader could not take it apart

ALIASES = {
    "userid": "user_id",
    "itemid": "item_id",
    "movieid": "item_id",
    "movie_title": "title",
    "rating": "value",
    "timestamp": "ts",
    "head_id": "head",
    "relation_id": "relation",
    "tail_id": "tail",
}
REQUIRED = {
    INTERACTIONS: ("user_id", "item_id", "ts"),
    ITEMS: ("item_id",),
    USERS: ("user_id",),
    TRIPLES: ("head", "relation", "tail"),
}
TAKES_ATTRIBUTES = (ITEMS, USERS)

_REASON, _ROW = "_reason", "_row"
_SHOWN = 200  # characters of a row in a message


@dataclass(frozen=True)
class RawTable:
    """A table of a source: its name, its origin for messages, and a frame of text columns."""

    name: str
    origin: str
    frame: DataFrame


@dataclass(frozen=True)
class CheckedTable:
    """A frame with the table's columns, `_reason` (null in good rows) and `_row` as JSON."""

    name: str
    origin: str
    frame: DataFrame

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
        """Return the number of rows by reason; None stands for the good ones."""
        return {row[_REASON]: row["count"] for row in self.frame.groupBy(_REASON).count().collect()}

    def example(self) -> tuple[str, str]:
        """Return the reason and the JSON of a bad row, the first in the order of both."""
        first = self.rejected.orderBy("reason", "row").first()
        return ("", "") if first is None else (first["reason"], first["row"][:_SHOWN])


def check(raw: RawTable, ingest_id: str) -> CheckedTable:
    """Return the rows of `raw`, checked and with their types, lazily.

    Raises InputError that names the origin and a column that is unknown, repeated, missing or
    without a name.
    """
    columns = matched_columns(raw)
    fields = {target: fn.trim(read.named(column)) for target, column in columns.items()}
    for name in ("user_id", "item_id", "head", "relation", "tail", "title", "text"):
        if name in columns:  # not trimmed
            fields[name] = read.named(columns[name])
    typed, reasons = _typed(raw, fields)
    values = {**typed, "ingest_id": fn.lit(ingest_id)}
    row = fn.to_json(
        fn.struct(*(read.named(name) for name in raw.frame.columns if name != CORRUPT))
    )
    if CORRUPT in raw.frame.columns:
        reasons = [fn.when(read.named(CORRUPT).isNotNull(), "the row can't be parsed"), *reasons]
        row = fn.coalesce(read.named(CORRUPT), row)
    reason = fn.nullif(fn.concat_ws("; ", *reasons), fn.lit(""))
    judged = raw.frame.select(
        *(values[name].alias(name) for name in TABLES[raw.name].column_names),
        reason.alias(_REASON),
        fn.when(reason.isNotNull(), row).alias(_ROW),
    )
    return CheckedTable(raw.name, raw.origin, _unique(raw.name, judged))


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


def matched_columns(raw: RawTable) -> dict[str, str]:
    """Return the frame's column for each field; other columns of items and users stay out.

    Raises InputError as `check` does.
    """
    known = {*TABLES[raw.name].column_names} - {"ingest_id"}
    found: dict[str, str] = {}
    for column in raw.frame.columns:
        field = column.strip().lower()
        if field not in known and ALIASES.get(field) in known:
            field = ALIASES[field]
        if field in found:
            raise InputError(
                f"{raw.origin}: columns `{found[field]}` and `{column}` are both `{field}`"
            )
        if not field:
            raise InputError(f"{raw.origin}: a column has no name")
        if field not in known and field != CORRUPT and raw.name not in TAKES_ATTRIBUTES:
            raise InputError(
                f"{raw.origin}: unknown column `{column}`; expected {', '.join(sorted(known))}"
            )
        found[field] = column
    missing = [name for name in REQUIRED[raw.name] if name not in found]
    if raw.name == ITEMS and not {"title", "text"} & found.keys():
        missing.append("title` or `text")
    if missing:
        raise InputError(
            f"{raw.origin}: column `{missing[0]}` is missing; found {', '.join(raw.frame.columns)}"
        )
    return {field: column for field, column in found.items() if field in known}


def _typed(raw: RawTable, fields: dict[str, Column]) -> tuple[dict[str, Column], list[Column]]:
    """Return the typed columns of the table and the reasons against a row, null where none."""
    typed: dict[str, Column] = {}
    reasons: list[Column] = []
    others = _other_columns(raw)
    for name in TABLES[raw.name].column_names:
        if name == "ingest_id":
            continue
        value, reason = _field(name, fields, others)
        typed[name] = value
        reasons += reason
    if raw.name == ITEMS:
        wordless = (fn.trim(typed["title"]) == "") & (fn.trim(read.given(fields, "text")) == "")
        reasons.append(fn.when(wordless, "title and text are both empty"))
    return typed, reasons


def _field(
    name: str, fields: dict[str, Column], others: list[tuple[str, Column]]
) -> tuple[Column, list[Column]]:
    if name == "text":
        return read.described(read.given(fields, name), others), []
    if name == "title":
        return read.given(fields, name), []
    if name == "attributes":
        return read.attributes(fields.get(name), others)
    if name == "ts":
        return read.timestamp(fields[name])
    optional = {"value": read.value, "available": read.available, "features": read.features}
    if name in optional:
        return optional[name](fields.get(name))
    return read.identifier(fields[name], name)


def _other_columns(raw: RawTable) -> list[tuple[str, Column]]:
    if raw.name not in TAKES_ATTRIBUTES:
        return []
    taken = {*matched_columns(raw).values(), CORRUPT}
    return [(name.strip(), read.named(name)) for name in raw.frame.columns if name not in taken]


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
