"""Reads files in CSV, TSV, JSON Lines, Parquet or RecBole's atomic format, as text columns.

- CSV, TSV and atomic files are UTF-8, may be packed (gz, bz2, zst), and name their columns in the
  first line. A folder of parts can stand in place of a file (`jobs.sources.files.parts`).
- Parts of one layout are read together, those of another apart, so that each has the columns, types
  and units of time that it says itself.
- Atomic files have no quotes, and types in their headers, such as `user_id:token`. Their links
  become triples of the relation `item_entity`.
- Every field becomes text: lists are joined by commas, structures written as JSON. A row that
  can't be parsed is kept whole in the column `_corrupt_record`.

Trade-off: fields of CSV and TSV may hold newlines, so one task reads a whole such file; the other
formats, and parts, are read in parallel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DoubleType,
    FloatType,
    MapType,
    StringType,
    StructField,
    StructType,
)

from jobs.sources.columns import CORRUPT, IDENTIFIERS, field_of
from jobs.sources.fields import named
from jobs.sources.files import parquet, text
from jobs.sources.files.parts import ATOMIC_ENDINGS, Part, parts
from jobs.sources.places.delta_table import is_delta, read_delta
from jobs.warehouse.tables import ITEM_ENTITY, TABLES
from models.errors import InputError

_NO_IDS = {"fractions": (DoubleType, FloatType), "structures": (ArrayType, MapType, StructType)}
_ATOMIC_TYPES = ("token", "token_seq", "float", "float_seq")
# what Spark makes, quotes included, of the words that Python writes where JSON has no number
_NO_NUMBERS = ('"NaN"', '"Infinity"', '"-Infinity"')
_JSON_OPTIONS = {
    "primitivesAsString": "true", "columnNameOfCorruptRecord": CORRUPT, "encoding": "UTF-8",
}  # fmt: skip
_DELIMITED_OPTIONS = {
    "header": "true",
    "columnNameOfCorruptRecord": CORRUPT,
    "columnPruning": "false",  # or rows that are too long would not be noticed
    "encoding": "UTF-8",
}


@dataclass(frozen=True)
class Group:
    """Parts of one layout, read as one frame; `origin` is the path of the first, for messages."""

    origin: str
    frame: DataFrame


def read_file(spark: SparkSession, path: Path, table: str) -> list[Group]:
    """Return the rows of `table` as text columns, lazily.

    They stand in a file, in a folder of parts or in a Delta table.

    Raises InputError that names the part, and the column if one is at fault, where a part is empty
    or malformed.
    """
    if is_delta(path):
        ids = {name for name in IDENTIFIERS if name in TABLES[table].column_names}
        frame = read_delta(spark, path)
        texts = [_as_text(str(path), one, ids) for one in frame.schema.fields]
        return [Group(str(path), frame.select(*texts))]
    # a column of folders named `name=value` is text, as every other
    spark.conf.set("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
    alike: dict[tuple[Any, ...], list[Part]] = {}
    origins: dict[tuple[Any, ...], str] = {}
    for part in parts(path):
        try:
            ready, layout = _PREPARE[part.ending](part)
        except (*text.UNREADABLE, UnicodeDecodeError) as error:
            raise InputError(f"{part.path} can't be read: {_first_line(error)}") from error
        key = (part.ending, ready.root, part.keys, layout)
        alike.setdefault(key, []).append(ready)
        origins.setdefault(key, str(part.path))
    return [_group(spark, table, origins[key], key[-1], group) for key, group in alike.items()]


def _group(spark: SparkSession, table: str, origin: str, layout: Any, group: list[Part]) -> Group:
    # the paths are no patterns: without this switch, brackets and stars would take other files in
    reader = spark.read.option("__globPaths__", "false")
    if group[0].keys:
        reader = reader.option("basePath", str(group[0].root))
    try:
        frame = _READERS[group[0].ending](reader, origin, layout, group)
    except PySparkException as error:
        raise InputError(f"{origin} can't be read: {_first_line(error)}") from error
    ids = {name for name in IDENTIFIERS if name in TABLES[table].column_names}
    return Group(origin, frame.select(*(_as_text(origin, one, ids) for one in frame.schema.fields)))


# a part that Spark can read, and its layout: equal for parts that can be read together
Ready = tuple[Part, Any]
Reader = Callable[[DataFrameReader, str, Any, list[Part]], DataFrame]


def _prepare_delimited(part: Part) -> Ready:
    layout = text.layout(part)
    _no_doubles(str(part.path), (*layout.names, *part.keys))
    return text.unpacked(part), layout


def _prepare_atomic(part: Part) -> Ready:
    text.has_quotes(part)
    columns = text.header(part, "\t", quoted=False)
    for column in columns:
        name, _, kind = column.rpartition(":")
        if not name or kind not in _ATOMIC_TYPES:
            raise InputError(
                f"{part.path}: column `{column}` should be name:type, with a type of "
                f"{', '.join(_ATOMIC_TYPES)}"
            )
    names = tuple(column.rpartition(":")[0] for column in columns)
    _no_doubles(str(part.path), (*names, *part.keys))
    if part.ending == ".link" and len(names) != 2:
        raise InputError(f"{part.path}: expected the columns item_id and entity_id, got {names}")
    return text.unpacked(part), text.Layout(columns, quoted=False, line_end="\n")


def _prepare_json(part: Part) -> Ready:
    text.has_quotes(part)
    return text.whole_characters(part), None


def _prepare_parquet(part: Part) -> Ready:
    ready = parquet.readable(part)
    shape = parquet.shape(ready)
    _no_doubles(str(part.path), (*shape.names, *part.keys))
    return ready, shape


def _read_delimited(
    reader: DataFrameReader, _: str, layout: text.Layout, group: list[Part]
) -> DataFrame:
    quotes = {"quote": '"', "escape": '"'} if layout.quoted else {"quote": ""}
    # set the line's end: where Spark detects it itself, it turns a field's CRLFs into LFs
    ends = {"multiLine": "true", "lineSep": layout.line_end} if layout.quoted else {}
    reader = reader.options(sep=text.DELIMITERS.get(group[0].ending, "\t"), **quotes, **ends)
    schema = StructType([StructField(name, StringType()) for name in [*layout.names, CORRUPT]])
    return reader.options(**_DELIMITED_OPTIONS).schema(schema).csv(_paths(group))


def _read_atomic(
    reader: DataFrameReader, origin: str, layout: text.Layout, group: list[Part]
) -> DataFrame:
    frame = _read_delimited(reader, origin, layout, group)
    frame = frame.toDF(*(column.rpartition(":")[0] or column for column in frame.columns))
    if group[0].ending != ".link":
        return frame
    return frame.select(
        frame[0].alias("head_id"),
        fn.lit(ITEM_ENTITY).alias("relation_id"),
        frame[1].alias("tail_id"),
        CORRUPT,
    )


def _read_json(reader: DataFrameReader, origin: str, _: None, group: list[Part]) -> DataFrame:
    reader = reader.options(**_JSON_OPTIONS)
    conf = SparkSession.active().conf
    conf.set("spark.sql.caseSensitive", "true")  # or of `genre` and `Genre` one would vanish
    try:
        schema = reader.json(_paths(group)).schema
    finally:
        conf.unset("spark.sql.caseSensitive")
    names = [name for name in schema.names if name not in (CORRUPT, *group[0].keys)]
    if not names:
        raise InputError(f"{origin} holds no JSON objects, expected one a line")
    _no_doubles(origin, (*names, *group[0].keys))
    own = [field for field in schema.fields if field.name in names]
    schema = StructType([*own, StructField(CORRUPT, StringType())])
    texts = [field.name for field in own if isinstance(field.dataType, StringType)]
    numbers = {name: fn.when(~named(name).isin(*_NO_NUMBERS), named(name)) for name in texts}
    return reader.schema(schema).json(_paths(group)).withColumns(numbers)


def _read_parquet(
    reader: DataFrameReader, _: str, shape: parquet.Shape, group: list[Part]
) -> DataFrame:
    spark = SparkSession.active()
    # Spark 4.2 refuses timestamps in nanoseconds, which pandas writes, but for this switch
    spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    micros = {name: fn.timestamp_micros(fn.floor(named(name) / 1000)) for name in shape.nanos}
    return reader.parquet(*_paths(group)).withColumns(micros)


_PREPARE: dict[str, Callable[[Part], Ready]] = {
    ".csv": _prepare_delimited,
    ".tsv": _prepare_delimited,
    ".jsonl": _prepare_json,
    ".ndjson": _prepare_json,
    ".parquet": _prepare_parquet,
    **dict.fromkeys(ATOMIC_ENDINGS, _prepare_atomic),
}
_READERS: dict[str, Reader] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".parquet": _read_parquet,
    **dict.fromkeys(ATOMIC_ENDINGS, _read_atomic),
}


def _paths(group: list[Part]) -> list[str]:
    return [str(part.path.absolute()) for part in group]


def _as_text(origin: str, field: StructField, ids: set[str]) -> Column:
    kind = field.dataType
    column = named(field.name)
    unfit = next((words for words, kinds in _NO_IDS.items() if isinstance(kind, kinds)), None)
    if unfit and field_of(field.name) in ids:
        raise InputError(
            f"{origin}: column `{field.name}` holds {unfit}, expected text or whole numbers"
        )
    if isinstance(kind, BinaryType):
        raise InputError(
            f"{origin}: column `{field.name}` has the type binary, which can't be read: write its "
            "bytes as text"
        )
    if isinstance(kind, ArrayType) and isinstance(kind.elementType, StringType):
        column = fn.array_join(column, ", ")
    elif isinstance(kind, ArrayType | MapType | StructType):
        column = fn.to_json(column)
    return column.cast("string").alias(field.name)


def _no_doubles(origin: str, names: tuple[str, ...]) -> None:
    lower = [name.strip().lower() for name in names]
    twice = next((name for name in lower if lower.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{origin}: column `{twice}` is there more than once")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
