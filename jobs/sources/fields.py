"""How the text of a field is read: its typed value, and the reasons to reject its row.

- Each function takes the field's text as a Spark column. It returns the typed column and a list of
  reason columns, which are null in good rows.
- Identifiers are kept as they are, titles and texts come plain (`jobs.sources.plain_text`). Numbers
  must be finite. Times are seconds since 1970, ISO 8601 or a date of eight digits, in UTC where no
  zone is given, from 1970 up to 2100.

Trade-off: `try_cast` everywhere: a field that can't be read gives null and a reason instead of an
error in the middle of a job.
"""

import datetime as dt

from pyspark.sql import Column
from pyspark.sql import functions as fn

END_OF_TIME = 4_102_444_800  # 2100-01-01, in seconds
_ISO = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$"
# Spark reads a zone after seconds alone
_WITHOUT_SECONDS = r"([T ]\d{2}:\d{2})(?=Z|[+-])"
# 20240105 is a date: as seconds it would be a day of August 1970
_DATE = r"^(19|20)\d{6}(\.0+)?$"
_FRACTION = r"^\s*[+-]?(\d+\.0+|\d+(\.\d+)?[eE]\+\d+|\d+\.\d+E\d+)\s*$"
_NO_NUMBER = ("NaN", "nan", "<NA>")  # what pandas writes for a missing number
_STRUCTURE = r'^\s*(\{"|\[["{])'  # {0f8fad5b} may be an id
LONGEST_ID = 1000
_INFINITY = float("inf")

Named = list[tuple[str, Column]]  # an attribute's name and its text


def label(text: Column, name: str) -> tuple[Column, list[Column]]:
    """Return the text unchanged; it may hold any characters but must not be blank."""
    return text, [
        fn.when(fn.trim(fn.coalesce(text, fn.lit(""))) == "", f"{name} is empty"),
        fn.when(text.contains("\ufffd"), f"{name} is not valid UTF-8"),
    ]


def identifier(text: Column, name: str) -> tuple[Column, list[Column]]:
    """Return the identifier unchanged, which must be no whole number written as a fraction.

    pandas writes 1.0 for 1 as soon as one id of the column is missing; both would be ids. All whose
    id is missing would be one user `nan`. A character NUL ends a text in C, and an id of megabytes,
    or an object where other rows of a JSON file have a text, is a column gone wrong.
    """
    same, reasons = label(text, name)
    why = f"{name} is a whole number written as a fraction, such as 1.0: write 1"
    return same, [
        *reasons,
        fn.when(text.rlike(_FRACTION), why),
        fn.when(text.isin(*_NO_NUMBER), f"{name} is missing: it is the NaN of a number"),
        fn.when(text.rlike(_STRUCTURE), f"{name} is a structure of JSON"),
        fn.when(text.contains("\0"), f"{name} has the character NUL"),
        fn.when(fn.length(text) > LONGEST_ID, f"{name} is longer than {LONGEST_ID} characters"),
    ]


def not_utf8(column: str) -> Column:
    """Return the reason against rows whose text in `column` isn't UTF-8, null in the others."""
    return fn.when(~fn.is_valid_utf8(named(column)), f"{column} is not valid UTF-8")


def value(text: Column | None) -> tuple[Column, list[Column]]:
    """Return the finite number; 1 in every row where the source has no such column."""
    if text is None:  # implicit feedback: that it happened is all there is
        return fn.lit(1.0), []
    number = _number(text)
    return number, [fn.when(number.isNull(), "value is not a finite number")]


def timestamp(text: Column, latest: dt.datetime | None = None) -> tuple[Column, list[Column]]:
    """Return the timestamp, to the microsecond, which must not be after `latest`."""
    date = fn.when(text.rlike(_DATE), fn.substring(text, 1, 8))
    seconds = fn.when(date.isNull(), _number(text))
    whole = fn.regexp_replace(text, _WITHOUT_SECONDS, "$1:00")
    iso = fn.unix_micros(fn.when(text.rlike(_ISO), whole.try_cast("timestamp")))
    day = fn.unix_micros(fn.try_to_timestamp(date, fn.lit("yyyyMMdd")))
    within = (seconds >= 0) & (seconds < END_OF_TIME)
    micros = fn.coalesce(fn.when(within, fn.round(seconds * 1e6).cast("bigint")), iso, day)
    moment = fn.when((micros >= 0) & (micros < END_OF_TIME * 10**6), fn.timestamp_micros(micros))
    readable = seconds.isNotNull() | iso.isNotNull() | day.isNotNull()
    reasons = [
        fn.when(~readable, "ts is neither seconds since 1970 nor an ISO 8601 time"),
        fn.when(readable & moment.isNull(), "ts is not between 1970-01-01 and 2100-01-01"),
    ]
    if latest is not None:
        late = moment > fn.lit(latest)
        reasons.append(fn.when(late, "ts is in the future, more than a day ahead of the clock"))
    return moment, reasons


def flag(text: Column | None, name: str, default: bool) -> tuple[Column, list[Column]]:
    """Return the flag `name`; the `default` where the source has none."""
    if text is None:
        return fn.lit(default), []
    filled = fn.coalesce(fn.nullif(text, fn.lit("")), fn.lit(str(default)))
    read = filled.try_cast("boolean")
    return read, [fn.when(read.isNull(), f"{name} is neither true nor false")]


def available(text: Column | None) -> tuple[Column, list[Column]]:
    """Return whether an item is on sale, which it is where the source doesn't say."""
    return flag(text, "available", default=True)


def features(text: Column | None) -> tuple[Column, list[Column]]:
    """Return the vector, read from a JSON list or from numbers between blanks; null where empty."""
    if text is None:
        return fn.lit(None).cast("array<float>"), []
    filled = fn.nullif(text, fn.lit(""))
    parts = fn.split(fn.trim(fn.regexp_replace(filled, r"[\[\]\s,]+", " ")), " ")
    numbers = fn.transform(parts, lambda part: _number(fn.trim(part, fn.lit('"'))).cast("float"))
    bad = fn.exists(numbers, lambda number: number.isNull() | (fn.abs(number) == fn.lit(_INFINITY)))
    return fn.when(~bad, numbers), [fn.when(bad, "features is not a list of finite numbers")]


def attributes(text: Column | None, others: Named) -> tuple[Column, list[Column]]:
    """Return the map in `text`, with the other columns added to it, and why it can't be read."""
    pairs = [fn.struct(fn.lit(name).alias("key"), value.alias("value")) for name, value in others]
    filled = fn.filter(
        fn.array(*pairs) if pairs else fn.array().cast("array<struct<key:string,value:string>>"),
        lambda pair: fn.coalesce(fn.trim(pair["value"]), fn.lit("")) != "",
    )
    if text is None:
        return fn.map_from_entries(filled), []
    map_text = fn.nullif(text, fn.lit(""))
    parsed = fn.from_json(map_text, "map<string,string>")
    distinct = fn.size(fn.array_distinct(fn.map_keys(parsed))) == fn.size(parsed)
    parsed = fn.when(distinct, parsed)  # Spark's maps fail on a doubled key
    names = [fn.lit(name) for name, _ in others]
    own = fn.map_filter(
        fn.coalesce(parsed, fn.from_json(fn.lit("{}"), "map<string,string>")),
        lambda key, value: ~key.isin(names) & value.isNotNull(),
    )
    bad = map_text.isNotNull() & (parsed.isNull() | ~map_text.startswith("{"))
    return fn.map_concat(fn.map_from_entries(filled), own), [
        fn.when(bad, "attributes is not a JSON object with distinct keys")
    ]


def described(text: Column, others: Named) -> Column:
    """Return the text, followed by "Name: value." for each other column; bars become commas."""
    sentences = [
        fn.when(
            fn.trim(value) != "",
            fn.concat(fn.lit(f"{name.replace('_', ' ').capitalize()}: "),
                     fn.regexp_replace(value, r"\s*\|\s*", ", "), fn.lit(".")),
        )
        for name, value in others
    ]  # fmt: skip
    return fn.concat_ws(" ", fn.when(fn.trim(text) != "", text), *sentences)


def blank(text: Column) -> Column:
    """Return whether the text is null, empty or blanks alone."""
    return fn.trim(fn.coalesce(text, fn.lit(""))) == ""


def named(name: str) -> Column:
    """Return the column called `name`, which may hold dots and backticks."""
    return fn.col("`" + name.replace("`", "``") + "`")


def given(fields: dict[str, Column], name: str) -> Column:
    """Return the text of the field `name`, empty where it is null or absent."""
    return fn.coalesce(fields.get(name, fn.lit(None).cast("string")), fn.lit(""))


def _number(text: Column) -> Column:
    """Return the finite number in `text`, else null."""
    number = text.try_cast("double")
    return fn.when(~fn.isnan(number) & (fn.abs(number) < fn.lit(_INFINITY)), number)
