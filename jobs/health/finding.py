"""A finding: where something is damaged, what it is, and what mends it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One damage: its `place` (a table, file, version or setting), the `problem`, what to do.

    `repair` mends it without loss; None where only people can.
    """

    place: str
    problem: str
    command: str
    repair: Callable[[], object] | None = None

    def line(self) -> str:
        """Return the finding as one line."""
        return " ".join(f"{self.place}: {self.problem}: {self.command}".split())
