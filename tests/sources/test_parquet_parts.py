"""Parquet before Spark reads it: columns of bytes and times of day become text, others stay."""

import datetime as dt
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.sources.files.parquet import readable, shape
from jobs.sources.files.parts import Part, parts
from models.errors import InputError

A, B = uuid.UUID(int=1), uuid.UUID(int=2**127 + 3)
UUIDS = [A.bytes, None, B.bytes]
TEXTS = [str(A), None, str(B)]


def written(folder: Path, column: pa.Array, **more: bool) -> Part:
    path = folder / "items.parquet"
    pq.write_table(pa.table({"x": column}), path, row_group_size=2, **more)
    (part,) = parts(path)
    return part


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(UUIDS, pa.uuid()), TEXTS),
        (pa.array(UUIDS, pa.binary(16)), TEXTS),
        (pa.array(UUIDS, pa.binary()), TEXTS),
        (pa.array(UUIDS, pa.large_binary()), TEXTS),
        (pa.array(UUIDS).dictionary_encode(), TEXTS),
        (pa.array([b"a", None, "é".encode()]), ["a", None, "é"]),
        (pa.array([b"line\nend", b"tab\t"]), ["line\nend", "tab\t"]),
        (pa.array([b"a", b"b", b"\xff"]), ["a", "b", "ff"]),  # each value by itself
        (pa.array([b"a", A.bytes, b"\1\2\3\4"]), ["a", str(A), "01020304"]),
        (pa.array([B.bytes, b"sixteen letters!"], pa.binary(16)), [str(B), "sixteen letters!"]),
        (pa.array([n.to_bytes(8) for n in (7, 2**40)], pa.binary(8)),
         ["0000000000000007", "0000010000000000"]),
        (pa.array([b"caf\xe9", b"Oak"]), ["636166e9", "Oak"]),
        (pa.array([b"a\0"]), ["6100"]),
        (pa.array([bytes(12)], pa.binary(12)), ["00" * 12]),
        (pa.array([b"sixteen letters!", b"sixteen letterS!"]),
         ["sixteen letters!", "sixteen letterS!"]),
        (pa.array([None, None], pa.binary()), [None, None]),
        (pa.array([None, None]), [None, None]),
        (pa.array([dt.time(10, 30)]), ["10:30:00.000000"]),
        (pa.array([dt.timedelta(seconds=1)]), ["1000000"]),
        (pa.array([1.5, None], pa.float16()), ["1.5", None]),
    ],
    ids=lambda one: str(one.type) if isinstance(one, pa.Array) else "",
)  # fmt: skip
def test_odd_columns_become_text(
    tmp_path: Path, column: pa.Array, expected: list[str | None]
) -> None:
    ready = readable(written(tmp_path, column))
    assert ready.path.parent != tmp_path
    table = pq.read_table(ready.path)
    assert (table["x"].type, table["x"].to_pylist()) == (pa.string(), expected)


@pytest.mark.parametrize(
    "column",
    [pa.array(["a"]), pa.array([1]), pa.array([1.5]), pa.array([True]), pa.array([["a"]]),
     pa.array([{"a": 1}]), pa.array([dt.date(2024, 1, 5)]), pa.array([1], pa.uint64()),
     pa.array(["a"]).dictionary_encode(), pa.array([dt.datetime(2024, 1, 5)])],
    ids=lambda one: str(one.type),
)  # fmt: skip
def test_other_columns_stay(tmp_path: Path, column: pa.Array) -> None:
    part = written(tmp_path, column)
    assert readable(part) == part


@pytest.mark.parametrize("column", [pa.array([[b"a"]]), pa.array([{"a": {"b": b"\xff"}}])])
def test_bytes_within_a_column_are_refused_by_its_name(tmp_path: Path, column: pa.Array) -> None:
    with pytest.raises(InputError, match=r"items.parquet: column `x` has the type "):
        readable(written(tmp_path, column))


@pytest.mark.parametrize(
    ("unit", "int96", "nanos"),
    [("ns", False, ("x",)), ("ns", True, ()), ("us", False, ()), ("ms", False, ())],
)
def test_only_nanoseconds_in_64_bits_are_converted(
    tmp_path: Path, unit: str, int96: bool, nanos: tuple[str, ...]
) -> None:
    column = pa.array([dt.datetime(2024, 1, 5)], pa.timestamp(unit))
    part = written(tmp_path, column, use_deprecated_int96_timestamps=int96)
    assert shape(part).nanos == nanos


def test_parts_of_one_schema_have_one_shape(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    one, two = pa.array(["a"]), pa.array([1])
    assert shape(written(tmp_path, one)) == shape(written(tmp_path / "1", pa.array(["b", "c"])))
    assert shape(written(tmp_path, one)) != shape(written(tmp_path / "2", two))
