"""Reads files in CSV, TSV, JSON Lines, Parquet or RecBole's atomic format, as text columns.

- CSV, TSV and atomic files are UTF-8, may be gzipped, and name their columns in the first line. A
  folder of part files can stand in place of a file.
- Atomic files have no quotes, and types in their headers, such as `user_id:token`. Their links
  become triples of the relation `item_entity`.
- Every field becomes text: lists are joined by commas, structures written as JSON. A row that
  can't be parsed is kept whole in the column `_corrupt_record`.

Trade-off: fields of CSV and TSV may hold newlines, so one task reads a whole such file; the other
formats, and part files, are read in parallel.
"""

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.types import (
    ArrayType,
    DoubleType,
    FloatType,
    MapType,
    StringType,
    StructField,
    StructType,
)

from jobs.sources.fields import named
from jobs.sources.validation import CORRUPT
from jobs.warehouse.tables import ITEM_ENTITY
from models.errors import InputError

Reader = Callable[[SparkSession, Path], DataFrame]

ATOMIC_ENDINGS = (".inter", ".item", ".user", ".kg", ".link")
_ATOMIC_TYPES = ("token", "token_seq", "float", "float_seq")
_COMPRESSED = ".gz"
_JSON_OPTIONS = {
    "primitivesAsString": "true", "columnNameOfCorruptRecord": CORRUPT, "encoding": "UTF-8",
}  # fmt: skip
_DELIMITED_OPTIONS = {
    "header": "true",
    "columnNameOfCorruptRecord": CORRUPT,
    "columnPruning": "false",  # or rows that are too long would not be noticed
    "encoding": "UTF-8",
}


def read_file(spark: SparkSession, path: Path) -> DataFrame:
    """Return the rows of a file as text columns, lazily.

    Raises InputError that names the file, and the column if one is at fault, where the file is
    empty or malformed.
    """
    reader = _READERS[stem_and_ending(path)[1]]
    try:
        frame = reader(spark, path)
    except (PySparkException, OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{path} can't be read: {first}") from error
    return frame.select(*(_as_text(path, field) for field in frame.schema.fields))


def parts(path: Path) -> list[Path]:
    """Return the file itself, or the visible files of a folder in order of their names."""
    if not path.is_dir():
        return [path]
    found = sorted(part for part in path.iterdir() if not part.name.startswith((".", "_")))
    if not found:
        raise InputError(f"{path} is an empty folder")
    return found


def stem_and_ending(path: Path) -> tuple[str, str]:
    """Return "items" and ".csv" of "items.csv" and of "items.csv.gz"."""
    name = Path(path.name.removesuffix(_COMPRESSED))
    return name.stem, name.suffix


def _read_csv(spark: SparkSession, path: Path) -> DataFrame:
    return _read_quoted(spark, path, ",")


def _read_tsv(spark: SparkSession, path: Path) -> DataFrame:
    return _read_quoted(spark, path, "\t")


def _read_quoted(spark: SparkSession, path: Path, delimiter: str) -> DataFrame:
    names = _header(path, delimiter, csv.QUOTE_MINIMAL)
    with _opened(path) as text:
        # set it: where Spark detects the line end itself, it turns a field's CRLFs into LFs
        line_end = "\r\n" if text.readline().endswith("\r\n") else "\n"
    reader = spark.read.options(sep=delimiter, quote='"', escape='"', multiLine=True)
    return _read_delimited(reader.options(lineSep=line_end), path, names)


def _read_atomic(spark: SparkSession, path: Path) -> DataFrame:
    header = _header(path, "\t", csv.QUOTE_NONE)
    names = []
    for column in header:
        name, _, kind = column.rpartition(":")
        if not name or kind not in _ATOMIC_TYPES:
            raise InputError(
                f"{path}: column `{column}` should be name:type, with a type of "
                f"{', '.join(_ATOMIC_TYPES)}"
            )
        names.append(name)
    _no_doubles(path, names)
    frame = _read_delimited(spark.read.options(sep="\t", quote=""), path, header)
    frame = frame.toDF(*names, CORRUPT)
    if stem_and_ending(path)[1] != ".link":
        return frame
    if len(names) != 2:
        raise InputError(f"{path}: expected the columns item_id and entity_id, got {names}")
    return frame.select(
        fn.col(names[0]).alias("head_id"),
        fn.lit(ITEM_ENTITY).alias("relation_id"),
        fn.col(names[1]).alias("tail_id"),
        CORRUPT,
    )


def _read_delimited(reader: DataFrameReader, path: Path, names: list[str]) -> DataFrame:
    _no_doubles(path, names)
    schema = StructType([StructField(name, StringType()) for name in [*names, CORRUPT]])
    return reader.options(**_DELIMITED_OPTIONS).schema(schema).csv(str(path))


def _read_json(spark: SparkSession, path: Path) -> DataFrame:
    schema = spark.read.options(**_JSON_OPTIONS).json(str(path)).schema
    names = [name for name in schema.names if name != CORRUPT]
    if not names:
        raise InputError(f"{path} holds no JSON objects, expected one a line")
    _no_doubles(path, names)
    if CORRUPT not in schema.names:
        schema = StructType([*schema.fields, StructField(CORRUPT, StringType())])
    return spark.read.options(**_JSON_OPTIONS).schema(schema).json(str(path))


def _read_parquet(spark: SparkSession, path: Path) -> DataFrame:
    schemas = [pq.read_schema(part) for part in parts(path)]
    _no_doubles(path, schemas[0].names)
    # Spark 4.2 refuses timestamps in nanoseconds, which pandas writes, but for this switch
    spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    nanos = [column.name for column in schemas[0] if str(column.type).startswith("timestamp[ns")]
    micros = {name: fn.timestamp_micros(fn.floor(named(name) / 1000)) for name in nanos}
    return spark.read.parquet(str(path)).withColumns(micros)


_READERS: dict[str, Reader] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".parquet": _read_parquet,
    **dict.fromkeys(ATOMIC_ENDINGS, _read_atomic),
}
ENDINGS = tuple(ending for ending in _READERS if ending not in ATOMIC_ENDINGS)


def _as_text(path: Path, field: StructField) -> Column:
    kind = field.dataType
    column = named(field.name)
    if isinstance(kind, ArrayType) and isinstance(kind.elementType, StringType):
        column = fn.array_join(column, ", ")
    elif isinstance(kind, ArrayType | MapType | StructType):
        column = fn.to_json(column)
    elif field.name.lower().endswith("id") and isinstance(kind, DoubleType | FloatType):
        raise InputError(
            f"{path}: column `{field.name}` holds fractions, expected text or whole numbers"
        )
    return column.cast("string").alias(field.name)


def _header(path: Path, delimiter: str, quoting: Literal[0, 3]) -> list[str]:
    with _opened(path) as text:
        names = next(csv.reader(text, delimiter=delimiter, quoting=quoting), [])
    if not names:
        raise InputError(f"{path} is empty: expected a line with the names of the columns")
    return names


def _opened(path: Path) -> TextIO:
    first = parts(path)[0]
    if first.suffix == _COMPRESSED:
        return gzip.open(first, "rt", encoding="utf-8-sig", newline="")
    return first.open(encoding="utf-8-sig", newline="")


def _no_doubles(path: Path, names: list[str]) -> None:
    lower = [name.strip().lower() for name in names]
    twice = next((name for name in lower if lower.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: column `{twice}` is there more than once")
