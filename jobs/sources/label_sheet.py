"""The label sheet: a CSV file of user-item pairs, to be labelled in a spreadsheet.

- It has one line per pair, with the item's title and an empty `value` to fill in.
- When it is read back, lines without a value are skipped.
- A text that a spreadsheet would run as a formula has an apostrophe before it, which is taken off
  again when the sheet is read.

Trade-off: a spreadsheet may change ids such as 007, so the reader has to check the pairs.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError

SHEET = "active_learning.csv"
_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # with apostrophes before it, so that each is told apart
COLUMNS = ("user_id", "item_id", "title", "probability", "value")


@dataclass(frozen=True)
class Answer:
    """A filled-in line of the sheet: the pair, the value as text, and the line's number."""

    pair: tuple[str, str]
    value: str
    line: int


def write_sheet(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the COLUMNS of the rows, with `value` left empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open(
        "w", encoding="utf-8-sig", newline=""
    ) as file:  # with a byte order mark, for Excel
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            texts = {name: _as_text(row[name]) for name in ("user_id", "item_id", "title")}
            shown = {**texts, "probability": f"{row['probability']:.3f}", "value": ""}
            writer.writerow([shown[name] for name in COLUMNS])
    partial.replace(path)


def _as_text(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _as_id(text: str) -> str:
    return text[1:] if _FORMULA.match(text[1:]) and text.startswith("'") else text


def forget_in_sheet(path: Path, users: frozenset[str]) -> None:
    """Take the lines of `users` out of the sheet, where there is one; the others stay as typed."""
    if not path.exists():
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *lines = [*csv.reader(file)] or [[]]
    column = header.index("user_id") if "user_id" in header else -1
    kept = [
        line
        for line in lines
        if column < 0 or not users & {_as_id(one) for one in line[column : column + 1]}
    ]
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *kept])
    partial.replace(path)


def read_sheet(path: Path) -> list[Answer]:
    """Return the filled-in lines; none where there is no sheet.

    Raises InputError that says what is wrong with the file.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = {"user_id", "item_id", "value"} - set(rows.fieldnames or ())
            if missing:
                raise InputError(
                    f"{path}: column `{min(missing)}` is missing; expected {','.join(COLUMNS)}, "
                    f"with commas between, found {','.join(rows.fieldnames or ())!r}"
                )
            return [
                Answer((_as_id(row["user_id"]), _as_id(row["item_id"])), value, rows.line_num)
                for row in rows
                if (value := (row["value"] or "").strip())
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} can't be read: {error}") from error
