"""The name that a mistyped one is most like, for messages."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ", did you mean `...`?" with the known name most like `name`; empty if none is."""
    alike = get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f", did you mean `{alike[0]}`?" if alike else ""
