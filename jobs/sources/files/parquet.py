"""Parquet files as Spark can read them: each part's own schema, and text in place of bytes.

- Times in nanoseconds are INT64 where pandas wrote them, and INT96 where Spark, Hive and Impala
  did; only the first kind has to be converted.
- Bytes become text, each value by itself, so that an id reads the same in every part, table and
  night: as it is where it is UTF-8 without control characters, a UUID where it is 16 bytes long,
  else hexadecimal digits. Spark has no UUIDs, and would take raw bytes for text.
- Times of day, durations and half floats become text too.

Trade-off: a part with such a column is copied by Arrow, in batches, before Spark reads it. Of ids
that are part text and part raw bytes, the text `ff` and the byte 0xff would be one.
"""

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.sources.files.parts import Part
from jobs.sources.files.text import staged
from models.errors import InputError

_Array = Any  # any of Arrow's arrays: pyarrow's stubs know no type for a cast one
Maker = Callable[[_Array], _Array]

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UUID_BYTES = 16
_BATCH = 1 << 16
_ODD = (
    pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view,
    pa.types.is_fixed_size_binary, pa.types.is_time, pa.types.is_duration, pa.types.is_float16,
    pa.types.is_null,
)  # fmt: skip


def readable(part: Part) -> Part:
    """Return the part itself, or a copy whose columns all have types that Spark knows.

    Raises InputError that names the column where a list or structure holds such a type, and
    Arrow's errors where the file is damaged.
    """
    with pq.ParquetFile(part.path, coerce_int96_timestamp_unit="us") as file:
        schema = file.schema_arrow
        odd = {column.name: _maker(column.type) for column in schema if _is_odd(column.type)}
        for column in schema:
            if _holds_odd(column.type):
                raise InputError(
                    f"{part.path}: column `{column.name}` has the type {column.type}, "
                    "which can't be read: write its bytes or times as text"
                )
        if not odd:
            return part
        copied = staged(part, f"{part.path.name}.parquet")
        fields = [pa.field(one.name, pa.string()) if one.name in odd else one for one in schema]
        _copy(file, copied.path, pa.schema(fields), odd)
    return copied


@dataclass(frozen=True)
class Shape:
    """A schema as text, equal for parts of one schema; all columns, and those in nanoseconds."""

    schema: str
    names: tuple[str, ...]
    nanos: tuple[str, ...]


def shape(part: Part) -> Shape:
    """Return the shape of the file's schema; Arrow's errors where it is damaged."""
    with pq.ParquetFile(part.path) as file:
        kinds = {
            column.path: column.physical_type
            for column in (file.schema.column(place) for place in range(len(file.schema)))
        }
        schema = file.schema_arrow
    nanos = tuple(
        column.name
        for column in schema
        if pa.types.is_timestamp(column.type)
        and column.type.unit == "ns"
        and kinds[column.name] == "INT64"
    )
    columns = [(column.name, str(column.type)) for column in schema]
    return Shape(repr(columns + sorted(kinds.items())), tuple(schema.names), nanos)


def _copy(file: pq.ParquetFile, target: Path, schema: pa.Schema, odd: dict[str, Maker]) -> None:
    with pq.ParquetWriter(target, schema) as writer:
        for batch in file.iter_batches(_BATCH):
            columns = [
                odd[name](column) if name in odd else column
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _maker(kind: pa.DataType) -> Maker:
    """Return what turns a batch of a column of this type into text."""
    if _is_uuid(kind):
        return _uuids
    if pa.types.is_float16(kind):
        return lambda batch: batch.cast(pa.float32()).cast(pa.string())
    if pa.types.is_duration(kind):
        return lambda batch: batch.cast(pa.int64()).cast(pa.string())
    if pa.types.is_time(kind) or pa.types.is_null(kind):
        return lambda batch: batch.cast(pa.string())
    return _texts


def _texts(batch: _Array) -> _Array:
    values = _plain(batch)
    try:
        texts = values.cast(pa.string())
        if not pc.any(pc.match_substring_regex(texts, _CONTROLS.pattern), min_count=0).as_py():
            return texts
    except pa.ArrowInvalid:  # not UTF-8
        pass
    return pa.array(map(_text, values.to_pylist()), pa.string())


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if not _CONTROLS.search(text):
        return text
    return str(uuid.UUID(bytes=value)) if len(value) == _UUID_BYTES else value.hex()


def _uuids(batch: _Array) -> _Array:
    values = _plain(batch).to_pylist()
    return pa.array([None if v is None else str(uuid.UUID(bytes=v)) for v in values], pa.string())


def _plain(batch: _Array) -> _Array:
    """Return the bytes of an array of bytes of any width, also of UUIDs."""
    array = batch.storage if isinstance(batch, pa.ExtensionArray) else batch
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.binary())


def _is_uuid(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and "uuid" in kind.extension_name


def _is_odd(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_odd(kind.value_type)
    return _is_uuid(kind) or any(is_kind(kind) for is_kind in _ODD)


def _holds_odd(kind: pa.DataType) -> bool:
    """Return whether a list, map or structure holds a type that is odd."""
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    return any(_is_odd(one) or _holds_odd(one) for one in inner)
