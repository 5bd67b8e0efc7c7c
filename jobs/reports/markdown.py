"""Markdown tables, for every report.

Trade-off: cells aren't padded to the same width, as `tabulate` would do: a figure that changes
changes one line of a report that is kept in git.
"""

from collections.abc import Collection, Iterable, Sequence
from html import escape


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[str] | None = None
) -> str:
    """Return a Markdown table; columns named in `left` are aligned left, by default the first."""
    left = header[:1] if left is None else left
    rule = ["---" if name in left else "---:" for name in header]
    return "\n".join(_line(cells) for cells in (header, rule, *rows))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    """Return a cell that stays one: what came from the data is no HTML, and ends no row."""
    return escape(" ".join(text.split()), quote=False).replace("|", "\\|")
