"""Text files before Spark reads them: bytes that aren't UTF-8, quotes, line ends, packing."""

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.sources.files.parts import Part, parts
from jobs.sources.files.text import has_quotes, layout, unpacked, whole_characters
from models.errors import InputError

NAMES = ("item_id", "title", "genre")


Pack = Callable[[str, bytes], bytes]


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def written(folder: Path, content: bytes, name: str = "items.csv") -> Part:
    path = folder / name
    path.write_bytes(content)
    (part,) = parts(path)
    return part


@pytest.mark.parametrize("packed", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("place", [1, 7, 200_000])
@pytest.mark.parametrize("bad", [b"caf\xe9", b"\xff", b"\xc0\x80", b"\xed\xa0\x80"])
def test_a_byte_that_is_not_utf_8_is_refused_by_its_line(
    tmp_path: Path, pack: Pack, packed: str, place: int, bad: bytes
) -> None:
    lines = [b"line \xc3\xa9"] * 200_001
    lines[place - 1] = bad
    part = written(tmp_path, pack(packed, b"\n".join(lines)), f"items.csv{packed}")
    with pytest.raises(InputError, match=rf"items.csv{packed} line {place}: byte 0x.. is not"):
        has_quotes(part)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.text(max_size=50))
def test_whatever_is_utf_8_passes(tmp_path: Path, text: str) -> None:
    try:
        content = text.encode()
    except UnicodeEncodeError:
        return
    assert has_quotes(written(tmp_path, content)) == ('"' in text)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("items.csv.gz", b"not packed"),
        ("items.csv.gz", gzip.compress(b"a,b\n" * 5000, mtime=0)[:-20]),
        ("items.csv.gz", gzip.compress(b"a,b\n" * 5000, mtime=0)[:30] + b"\0\1\2"),
        ("items.csv.bz2", b"BZh9 not packed"),
        ("items.csv.bz2", bz2.compress(b"a,b\n" * 5000)[:-5]),
        ("items.csv.zst", b"\x28\xb5\x2f\xfd damaged"),
        ("items.csv.zst", zstd(bytes(range(256)) * 99)[:-9]),
        ("items.csv", gzip.compress(b"a,b\n", mtime=0)),
        ("items.csv", "a,b\n".encode("utf-16")),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(InputError, match=name):
        has_quotes(written(tmp_path, content, name))


def table(delimiter: str, *rows: tuple[str, ...], end: str = "\n") -> bytes:
    return "".join(delimiter.join(row) + end for row in (NAMES, *rows)).encode()


PLAIN = [("a", "Oak", "tree"), ("c", "Ash", "tree"), ("d", "Fir", "tree")]
LONE = ['"Oak', '"', '"""', '""Oak', '"Weird" Al "Oak', '"a ""b']
CLOSED = ['"Oak"', '""', '"Oak, or ""Eik"""', 'Oak "Eik"', '"Weird Al" Yankovic', '12" Oak', '5"']


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("title", [one for one in LONE if one != '""Oak'])
def test_a_lone_quote_costs_no_other_row(tmp_path: Path, title: str, place: int) -> None:
    rows = [*PLAIN[:place], ("b", title, "tree"), *PLAIN[place:]]
    if title == '"Weird" Al "Oak':  # within an unquoted field it means nothing
        assert layout(written(tmp_path, table(",", *rows))).names == NAMES
        return
    assert not layout(written(tmp_path, table("\t", *rows), "items.tsv")).quoted
    with pytest.raises(InputError, match=rf"items.csv line {place + 2}: a quote opens a field"):
        layout(written(tmp_path, table(",", *rows)))


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
@pytest.mark.parametrize("title", CLOSED)
def test_quotes_that_end_are_quotes(tmp_path: Path, title: str, ending: str) -> None:
    delimiter = "," if ending == ".csv" else "\t"
    content = table(delimiter, *PLAIN, ("b", title, "tree"))
    assert layout(written(tmp_path, content, f"items{ending}")).quoted


def test_two_lone_quotes_join_no_rows(tmp_path: Path) -> None:
    rows = [("a", '"Oak', "tree"), *PLAIN, ("e", "Elm", 'tree"')]
    assert not layout(written(tmp_path, table("\t", *rows), "items.tsv")).quoted
    with pytest.raises(InputError, match=r"items.csv line 2: a quote opens"):
        layout(written(tmp_path, table(",", *rows)))


@pytest.mark.parametrize("text", ["one\ntwo", "one, two\nthree\n\nfour", "\r\n", 'say ""so""\nso'])
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_field_may_hold_lines(tmp_path: Path, text: str, ending: str) -> None:
    delimiter = "," if ending == ".csv" else "\t"
    content = table(delimiter, ("a", f'"{text}"', "tree"), *PLAIN)
    assert layout(written(tmp_path, content, f"items{ending}")).quoted


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\N{ZERO WIDTH NO-BREAK SPACE}"])
def test_line_ends_and_byte_order_marks(tmp_path: Path, end: str, mark: str) -> None:
    found = layout(written(tmp_path, mark.encode() + table(",", *PLAIN, end=end)))
    assert (found.names, found.line_end, found.quoted) == (NAMES, end, False)


@pytest.mark.parametrize("name", ["items.csv.zst", "items.csv.GZ", "items.csv.Bz2"])
def test_what_spark_cannot_unpack_is_unpacked(tmp_path: Path, pack: Pack, name: str) -> None:
    content = table(",", *PLAIN)
    folder = tmp_path / "items.csv" / "day=1"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(pack(Path(name).suffix, content))
    (part,) = parts(tmp_path / "items.csv")
    plain = unpacked(part)
    assert plain.path.read_bytes() == content
    assert plain.keys == part.keys == ("day",)
    assert not plain.packed


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"cut \ud83d", r"cut \ufffd"),
        (r"\uD83D, then \uDE00", r"\ufffd, then \ufffd"),
        (r"\ude00\ud83d", r"\ufffd\ufffd"),
        (r"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00"),
        (r"whole \ud83d\ude00", r"whole \ud83d\ude00"),
        (r"a path \\ud83d", r"a path \\ud83d"),
        (r"a quote \"\\\ud83d", r"a quote \"\\\ufffd"),
        (r"caf\u00e9 \ud7ff \ue000", None),
        ("\N{GRINNING FACE}", None),
    ],
)
def test_half_a_character_of_json_is_told(
    tmp_path: Path, pack: Pack, packed: str, text: str, expected: str | None
) -> None:
    line = '{{"title": "{}"}}\n'
    content = (line.format("Oak") + line.format(text)).encode()
    part = written(tmp_path, pack(packed, content), f"items.jsonl{packed}")
    plain = whole_characters(part)
    if expected is None:
        assert plain == unpacked(part)
    else:
        assert plain.path.read_bytes() == (line.format("Oak") + line.format(expected)).encode()
        assert not plain.packed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.text(st.characters(categories=("Cs", "L", "So")), max_size=9))
def test_json_of_any_text_has_whole_characters_then(tmp_path: Path, text: str) -> None:
    """Python's json reads halves as they are: none may be left, and nothing else may change."""
    part = written(tmp_path, json.dumps(text).encode(), "items.jsonl")
    found = json.loads(whole_characters(part).path.read_bytes())
    whole = json.loads(json.dumps(text))  # halves that stand side by side are a pair
    assert found == "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in whole)
