"""Columns of a source by name: which field of its table each one is.

- Names are matched ignoring case: the table's own first, then those in ALIASES, which teams use
  for the same thing. `--column user_id=customer_id` says it outright, and so does the setting
  `columns`, which can also make a field of other columns (`jobs.sources.made_fields`).
- Any other column of items and users becomes an attribute and part of the text. Of interactions it
  isn't read, and a line says so; of triples it is an error.
- Parts of one table are put together by field, whatever the order and spelling of their columns.

Trade-off: an alias is taken only where no column has the field's own name, and two aliases of one
field are refused: a guess between `created_at` and `event_time` would be wrong half of the time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from pyspark.sql import DataFrame

from jobs.sources.made_fields import Made, parsed
from jobs.suggestions import did_you_mean
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TABLES, TRIPLES, USERS
from models.errors import InputError

DELETED = "deleted"  # a field of every table, which no table holds: its row goes
CORRUPT = "_corrupt_record"  # the whole row as text, where a reader could not take it apart

# names of MovieLens and RecBole: with the field's own name beside one, a source is refused
STRICT_ALIASES = {
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
ALIASES = {
    **dict.fromkeys(
        ("user", "customer", "customer_id", "customerid", "client_id", "visitor_id", "visitorid",
         "member_id", "account_id"), "user_id"),
    **dict.fromkeys(
        ("item", "product", "product_id", "productid", "sku", "article", "article_id", "articleid",
         "asin", "movie_id"), "item_id"),
    **dict.fromkeys(("name", "product_name", "product_title", "item_name"), "title"),
    **dict.fromkeys(("quantity", "qty", "stars", "score"), "value"),
    **dict.fromkeys(
        ("is_deleted", "_deleted", "tombstone"), DELETED),
    **dict.fromkeys(
        ("time", "datetime", "created_at", "event_time", "event_timestamp", "occurred_at"), "ts"),
}  # fmt: skip
IDENTIFIERS = ("user_id", "item_id", "head", "tail")
REQUIRED = {
    INTERACTIONS: ("user_id", "item_id", "ts"),
    ITEMS: ("item_id",),
    USERS: ("user_id",),
    TRIPLES: ("head", "relation", "tail"),
}
TAKES_ATTRIBUTES = (ITEMS, USERS)
_WORDS = {"title", "text"}


@dataclass(frozen=True)
class RawTable:
    """A table of a source: its name, its origin for messages, and a frame of text columns.

    `said` has the source's column for those fields of which a person has told it, and `made` how
    the frame's other fields were made of its columns; `there` are all columns of the source, in
    lower case, where a person may have told of some.
    """

    name: str
    origin: str
    frame: DataFrame
    said: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, Made] = field(default_factory=dict)
    there: frozenset[str] = frozenset()

    def matched(self) -> "Matched":
        """Return which column is which field, as `match` does."""
        found = match(self.name, self.origin, self.frame.columns, self.said)
        return replace(found, made=self.made)


@dataclass(frozen=True)
class Matched:
    """The source's column for each field of the table, and the columns that are no field.

    `made` says how fields were made that the source has no column for.
    """

    table: str
    origin: str
    fields: dict[str, str]
    others: tuple[str, ...]
    made: Mapping[str, Made] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return what a person should know about how the columns were read, a line each."""
        lines = [
            f"{self.origin}: column `{column}` is read as `{name}`"
            for name, column in self.fields.items()
            if column.strip().lower() != name
        ]
        lines += [f"{self.origin}: `{name}` is {one.told()}" for name, one in self.made.items()]
        if self.table == INTERACTIONS and "value" in self.made and self.made["value"].kinds:
            lines.append(
                f"{self.origin}: an item is had by the largest kind that occurs, or a negative "
                "one; a lesser one keeps it off no list (setting `had_from`)"
            )
        used = {column for one in self.made.values() for column in one.columns()}
        others = [column for column in self.others if column.strip().lower() not in used]
        if others and self.table not in TAKES_ATTRIBUTES:
            lines.append(f"{self.origin}: not read: column `{'`, `'.join(others)}`")
        if self.table == INTERACTIONS and "value" not in self.fields:
            lines.append(f"{self.origin}: no column `value`, so each row counts as 1")
        return lines


def reading_notes(tables: Sequence[RawTable]) -> list[str]:
    """Return what a person should know about how the columns of all `tables` were read."""
    return [line for one in tables for line in one.matched().lines()]


def told_columns(setting: Mapping[str, object], pairs: Sequence[str]) -> dict[str, str | Made]:
    """Return the column of each field, or how it is made, that the setting and flags say.

    `pairs` are texts such as `user_id=customer_id`, which come before the setting. Raises
    InputError that names a pair without `=`, a field that no table has, and what makes no field.
    """
    told = dict(setting)
    for pair in pairs:
        name, equals, column = (part.strip() for part in pair.partition("="))
        if not equals or not column:
            raise InputError(f"--column {pair}: expected FIELD=COLUMN, as in user_id=customer_id")
        told[name] = column
    fields = {name for table in REQUIRED for name in TABLES[table].column_names}
    fields = (fields | {DELETED}) - {"ingest_id"}
    unknown = next((name for name in told if name not in fields), None)
    if unknown is not None:
        raise InputError(
            f"column for `{unknown}`: no such field{did_you_mean(unknown, fields)}; expected one "
            f"of {', '.join(sorted(fields))}"
        )
    return {name: parsed(name, one) for name, one in told.items()}


def refuse_absent(tables: Sequence[RawTable], told: Mapping[str, str | Made]) -> None:
    """Raise InputError where a column of which a person has told is in no table of the source."""
    found = {column for one in tables for column in one.there}
    for name, said in told.items() if found else ():
        columns = [said.strip().lower()] if isinstance(said, str) else said.columns()
        for column in columns:
            if column not in found:
                raise InputError(
                    f"column `{column}`, told to be `{name}`, is in no file of the source"
                    f"{did_you_mean(column, found)}"
                )


def field_of(column: str) -> str:
    """Return the field that a column of this name may stand for, else the name in lower case."""
    name = column.strip().lower()
    return STRICT_ALIASES.get(name) or ALIASES.get(name) or name


def match(
    table: str, origin: str, columns: Sequence[str], said: Mapping[str, str] | None = None
) -> Matched:
    """Return which of `columns` is which field of the table; `origin` is named in messages.

    `said` comes before every other name. Raises InputError that names a column that is repeated,
    missing, without a name, or unknown.
    """
    known = {*TABLES[table].column_names, DELETED} - {"ingest_id"}
    found = _said(columns, {name: one for name, one in (said or {}).items() if name in known})
    told, taken = {*found}, {*found.values()}
    guesses: dict[str, list[str]] = {}
    others: list[str] = []
    for column in (one for one in columns if one not in taken and one != CORRUPT):
        name = column.strip().lower()
        own = name if name in known else STRICT_ALIASES.get(name, name)
        if not name:
            raise InputError(f"{origin}: a column has no name")
        if own in found and own not in told:
            raise InputError(f"{origin}: columns `{found[own]}` and `{column}` are both `{own}`")
        if own in known and own not in told:
            found[own] = column
        elif ALIASES.get(name) in known:
            guesses.setdefault(ALIASES[name], []).append(column)
        else:
            others.append(column)
    others += _guessed(origin, found, guesses)
    matched = Matched(table, origin, found, tuple(others))
    _refuse_missing(matched, columns, known)
    return matched


def _said(columns: Sequence[str], said: Mapping[str, str]) -> dict[str, str]:
    by_name = {column.strip().lower(): column for column in columns}
    wanted = {name: by_name.get(column.strip().lower()) for name, column in said.items()}
    return {name: column for name, column in wanted.items() if column is not None}


def _guessed(origin: str, found: dict[str, str], guesses: dict[str, list[str]]) -> list[str]:
    """Add aliases to the fields `found`; return those that stand beside the field's own name."""
    others = []
    for name, candidates in guesses.items():
        if name in found:
            others += candidates
        elif len(candidates) > 1:
            raise InputError(
                f"{origin}: columns `{candidates[0]}` and `{candidates[1]}` could both be "
                f"`{name}`: say which with --column {name}={candidates[0]}"
            )
        else:
            found[name] = candidates[0]
    return others


def _refuse_missing(matched: Matched, columns: Sequence[str], known: set[str]) -> None:
    table, found = matched.table, matched.fields
    if table == TRIPLES and matched.others:
        raise InputError(
            f"{matched.origin}: unknown column `{matched.others[0]}`; "
            f"expected {', '.join(sorted(known - {DELETED}))}"
        )
    missing = [name for name in REQUIRED[table] if name not in found]
    # without any words it may say what is on sale, of items that are known
    if table == ITEMS and not {*_WORDS, "available", DELETED} & found.keys():
        missing.append("title` or `text")
    if missing:
        there = ", ".join(column for column in columns if column != CORRUPT)
        raise InputError(f"{matched.origin}: column `{missing[0]}` is missing; found {there}")


def union(
    table: str,
    origins: Sequence[str],
    frames: Sequence[DataFrame],
    said: Mapping[str, str] | None = None,
) -> DataFrame:
    """Return the rows of all frames, whose columns are put together by field, then by name.

    Raises InputError that names the origin of a frame whose columns don't fit.
    """
    matches = [
        match(table, origin, frame.columns, said)
        for origin, frame in zip(origins, frames, strict=True)
    ]
    with_value = [one.origin for one in matches if "value" in one.fields]
    for one in matches:
        if with_value and "value" not in one.fields and table == INTERACTIONS:
            raise InputError(f"{one.origin}: column `value` is missing, which {with_value[0]} has")
    names: dict[tuple[bool, str], str] = {}  # a field, or another name -> its column
    aligned = []
    for one, frame in zip(matches, frames, strict=True):
        keys = {column: (True, name) for name, column in one.fields.items()}
        renamed = [
            names.setdefault(keys.get(column, (False, column.strip().lower())), column)
            for column in frame.columns
        ]
        aligned.append(frame.toDF(*renamed))
    return reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), aligned)
