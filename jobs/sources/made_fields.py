"""Fields that a source's columns don't hold as they are: constants, kinds of events, templates.

In `[columns]` of `nightrank.toml`, or with `--column`:

    value = {constant = 1}
    value = {column = "event", kinds = {view = 1, cart = 3, purchase = 5, return = -5}}
    text = {template = "{brand}. {description}"}

- A made field takes the place of a column of that name.
- A kind has a number of its own, which may be negative. A row of another kind is rejected.
- A template's text is all of the field: no other column is added to a `text` that is made so.
- Interactions without values whose column is called `event` or the like get those of KINDS.

Trade-off: an unknown kind counts as 1 where nobody has said what kinds count, as any row does
without a value; a column called `event` may hold anything.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as fn

from jobs.sources.fields import named
from jobs.warehouse.tables import INTERACTIONS, TABLES
from models.errors import InputError

EVENT_COLUMNS = (
    "event", "event_type", "event_name", "eventtype", "action", "action_type", "interaction",
    "interaction_type", "behavior", "behaviour", "behavior_type",
)  # fmt: skip
KINDS = {
    **dict.fromkeys(("view", "click", "pageview", "page_view", "detail", "pv", "impression"), 1.0),
    **dict.fromkeys(
        ("cart", "add_to_cart", "addtocart", "basket", "wishlist", "favorite", "favourite", "fav"),
        3.0),
    **dict.fromkeys(("purchase", "buy", "order", "transaction", "sale", "checkout"), 5.0),
    **dict.fromkeys(("return", "refund", "cancel", "dislike"), -5.0),
    **dict.fromkeys(("remove_from_cart", "unfavorite"), 0.0),
}  # fmt: skip
_PLACE = re.compile(r"\{([^{}]+)\}")
_SHAPES = '{constant = 1}, {column = "event", kinds = {view = 1}} or {template = "{brand}"}'


@dataclass(frozen=True)
class Made:
    """How a field is made: a `constant`, the `kinds` of a `column`, or a `template`.

    A kind that isn't among `kinds` counts as `other`; None rejects its row.
    """

    constant: str | None = None
    column: str | None = None
    kinds: tuple[tuple[str, float], ...] = ()
    template: str | None = None
    other: float | None = None

    def columns(self) -> list[str]:
        """Return the source's columns that the field is made of, in lower case."""
        if self.template is not None:
            return [name.strip().lower() for name in _PLACE.findall(self.template)]
        return [] if self.column is None else [self.column.strip().lower()]

    def told(self) -> str:
        """Return what the field is made of, as a person says it."""
        if self.template is not None:
            return f"made from the template `{self.template}`"
        if self.column is None:
            return f"always `{self.constant}`"
        kinds = ", ".join(f"{name} {number:g}" for name, number in self.kinds)
        others = "" if self.other is None else f", any other {self.other:g}"
        return f"made from the kinds in column `{self.column}`: {kinds}{others}"

    def value(self, columns: Sequence[str]) -> Column:
        """Return the field's text, made of a source's `columns`."""
        by_name = {column.strip().lower(): named(column) for column in columns}
        if self.template is not None:
            pieces = _PLACE.split(self.template)  # every second is the name of a column
            return fn.concat(*(
                fn.coalesce(by_name[piece.strip().lower()], fn.lit("")) if at % 2 else fn.lit(piece)
                for at, piece in enumerate(pieces)
            ))  # fmt: skip
        if self.column is None:
            return fn.lit(self.constant)
        kind = fn.lower(fn.trim(by_name[self.columns()[0]]))
        numbers = [fn.lit(one) for name, number in self.kinds for one in (name, str(number))]
        other = fn.lit(None if self.other is None else str(self.other))
        return fn.coalesce(fn.create_map(*numbers)[kind], other.cast("string"))


def parsed(name: str, said: object) -> "str | Made":
    """Return the column or the way to make the field `name` that a setting says.

    Raises InputError that names the field where `said` is neither.
    """
    if isinstance(said, str):
        return _from_text(name, said)
    if isinstance(said, Mapping):
        found = _from_table({str(key): value for key, value in said.items()})
        if found is not None:
            return found
    raise InputError(f"column for `{name}`: expected the name of a column, {_SHAPES}, got {said!r}")


def fingerprint(said: "str | Made") -> str:
    """Return a text that differs where what is said of a field does."""
    return said if isinstance(said, str) else json.dumps(vars(said), sort_keys=True)


def add_made(
    table: str, frame: DataFrame, said: Mapping[str, "str | Made"], has_value: bool
) -> tuple[DataFrame, dict[str, Made]]:
    """Return the frame with the made fields of the table, and how each was made.

    A field is left out where the frame lacks a column that it is made of. `has_value` says whether
    the frame has values of its own.
    """
    there = {column.strip().lower() for column in frame.columns}
    fields = set(TABLES[table].column_names) - {"ingest_id"}
    made = {
        name: one
        for name, one in said.items()
        if isinstance(one, Made) and name in fields and there.issuperset(one.columns())
    }
    if table == INTERACTIONS and not has_value and "value" not in said:
        made |= _by_kind(frame.columns)
    values = {name: one.value(frame.columns) for name, one in made.items()}
    kept = [named(column) for column in frame.columns if column.strip().lower() not in made]
    added = [value.cast("string").alias(name) for name, value in values.items()]
    return (frame.select(*kept, *added) if made else frame), made


def _by_kind(columns: Sequence[str]) -> dict[str, Made]:
    events = [column for column in columns if column.strip().lower() in EVENT_COLUMNS]
    if len(events) != 1:
        return {}
    return {"value": Made(column=events[0], kinds=tuple(KINDS.items()), other=1.0)}


def _from_text(name: str, said: str) -> "str | Made":
    if not said.strip().startswith("{"):
        return said
    try:
        return parsed(name, tomllib.loads(f"said = {said}")["said"])
    except tomllib.TOMLDecodeError:
        return said


def _from_table(said: dict[str, Any]) -> Made | None:
    if said.keys() == {"constant"} and isinstance(said["constant"], str | int | float):
        constant = said["constant"]
        return Made(constant=str(constant).lower() if isinstance(constant, bool) else str(constant))
    if said.keys() == {"template"} and _PLACE.search(str(said["template"])):
        return Made(template=str(said["template"]))
    if said.keys() == {"column", "kinds"} and isinstance(said["kinds"], Mapping):
        kinds = said["kinds"].items()
        if kinds and all(type(number) in (int, float) for _, number in kinds):
            numbers = tuple((str(kind).strip().lower(), float(number)) for kind, number in kinds)
            return Made(column=str(said["column"]), kinds=numbers)
    return None
