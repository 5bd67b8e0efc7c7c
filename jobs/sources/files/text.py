"""What a text file holds, found out before Spark reads it: bad bytes, quotes that never end, names.

- Every byte is decoded once. The first that isn't UTF-8 is refused with its line: Spark would turn
  it into U+FFFD without a word.
- A quote may join lines only where it ends again, and where the lines aren't whole rows by
  themselves. Otherwise a TSV file is read without quotes (IMDb and Wikidata write so), and a CSV
  file is refused with the line of the quote.
- Half a surrogate pair in JSON, as of a text that was cut within an emoji, becomes U+FFFD in a
  copy, which no id may hold: of Spark's "?" two ids would be one.
- Files that Spark can't unpack are unpacked into a folder of this process.

Trade-off: one process reads all text once more, 0.1 to 1 GB a second; files with quotes take their
rows apart in Python, a million a second.
"""

import bz2
import codecs
import csv
import functools
import gzip
import hashlib
import io
import re
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

import pyarrow as pa

from jobs.sources.files.parts import Part
from models.errors import InputError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
UNREADABLE = (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)
_SPARK_UNPACKS = (".gz", ".bz2")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_CHUNK = 1 << 20
_LONGEST_FIELD = 1 << 24  # characters; the csv module allows 2^17, fewer than some texts have


@dataclass(frozen=True)
class Layout:
    """The names in the first line, whether quotes mean anything, and how lines end."""

    names: tuple[str, ...]
    quoted: bool
    line_end: str


def unpacked(part: Part) -> Part:
    """Return the part itself, or a plain copy of it where Spark can't unpack the file."""
    if not part.packed or part.path.suffix in _SPARK_UNPACKS:
        return part
    copied = staged(part, part.path.with_suffix("").name)
    try:
        with _opened(part) as packed, copied.path.open("wb") as plain:
            shutil.copyfileobj(packed, plain, _CHUNK)
    except UNREADABLE as error:
        raise InputError(f"{part.path} can't be read: {error}") from error
    return copied


def whole_characters(part: Part) -> Part:
    """Return the plain part of JSON itself, or a copy without halves of surrogate pairs."""
    with _opened(part) as file:
        if not any(_SURROGATE.search(line) for line in file):
            return unpacked(part)
    copied = staged(part, f"whole-{part.path.name}.json")
    with _opened(part) as file, copied.path.open("wb") as plain:
        plain.writelines(_ESCAPE.sub(_no_half, line) for line in file)
    return copied


def _no_half(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape["half"] else escape[0]


def staged(part: Part, name: str) -> Part:
    """Return where a copy of the part may be written, below the same `name=value` folders."""
    root = scratch() / hashlib.sha256(str(part.root).encode()).hexdigest()[:16]
    path = root / part.path.relative_to(part.root).with_name(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return Part(path, part.ending, root)


def has_quotes(part: Part) -> bool:
    """Return whether the file has a double quote; InputError names the line of a bad byte."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, found = 1, False
    try:
        with _opened(part) as file:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
                found = found or b'"' in chunk
                lines += chunk.count(b"\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line = lines + error.object[: error.start].count(b"\n")
        byte = error.object[error.start]
        raise InputError(
            f"{part.path} line {line}: byte 0x{byte:02x} is not UTF-8: save the file as UTF-8"
        ) from error
    except UNREADABLE as error:
        raise InputError(f"{part.path} can't be read: {error}") from error
    return found


def layout(part: Part) -> Layout:
    """Return how a CSV or TSV file is to be read; InputError names the line that is at fault."""
    delimiter = DELIMITERS[part.ending]
    quoted = has_quotes(part)
    with _text(part) as text:
        first = text.readline()
    line_end = "\r\n" if first.endswith("\r\n") else "\r" if first.endswith("\r") else "\n"
    if quoted:
        lone = _lone_quote(part, delimiter)
        if lone and delimiter == ",":
            raise InputError(
                f"{part.path} line {lone}: a quote opens a field and swallows the lines after it: "
                "close the quote, or write it twice"
            )
        quoted = not lone
    return Layout(header(part, delimiter, quoted), quoted, line_end)


def header(part: Part, delimiter: str, quoted: bool) -> tuple[str, ...]:
    """Return the names in the first line; InputError where there is none."""
    csv.field_size_limit(_LONGEST_FIELD)
    with _text(part) as text:
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        names = next(csv.reader(text, delimiter=delimiter, quoting=quoting), [])
    if not names:
        raise InputError(f"{part.path} is empty: expected a line with the names of the columns")
    return tuple(names)


def _lone_quote(part: Part, delimiter: str) -> int:
    """Return the number of the line where a quote swallows rows, 0 where none does."""
    csv.field_size_limit(_LONGEST_FIELD)
    with _text(part) as text:
        seen: deque[str] = deque(maxlen=1000)
        rows = csv.reader(_kept(text, seen), delimiter=delimiter)
        width, before = 0, 0
        try:
            for row in rows:
                lines = rows.line_num - before
                width = width or len(row)
                if row == [_END]:
                    return 0
                if seen[-1] == _END or (lines > 1 and _whole(seen, lines, delimiter, width)):
                    break
                before = rows.line_num
        except csv.Error:  # a field of more than 16 million characters
            pass
        return before + 1


_END = "\0end"


def _kept(lines: Iterator[str], seen: deque[str]) -> Iterator[str]:
    for line in lines:
        seen.append(line)
        yield line
    seen.append(_END)
    yield _END


def _whole(seen: deque[str], count: int, delimiter: str, width: int) -> bool:
    """Return whether each of the last `count` lines is a row by itself.

    Two columns prove nothing in CSV: lines of a text have a comma as often as not.
    """
    if delimiter == "," and width < 3:
        return False
    lines = list(seen)[-count:]
    return all(line.count(delimiter) == width - 1 for line in lines)


def _opened(part: Part) -> IO[bytes]:
    if part.packed == ".gz":
        return cast(IO[bytes], gzip.open(part.path, "rb"))
    if part.packed == ".bz2":
        return bz2.open(part.path, "rb")
    if part.packed == ".zst":
        stream = pa.input_stream(str(part.path), compression="zstd")
        return io.BufferedReader(cast(io.RawIOBase, stream))  # Arrow's own can't read lines
    return part.path.open("rb")


def _text(part: Part) -> io.TextIOWrapper:
    return io.TextIOWrapper(_opened(part), encoding="utf-8-sig", newline="")


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nightrank-ingest-")


def scratch() -> Path:
    """Return the folder of copies, which goes when this process ends."""
    return Path(_folder().name)
