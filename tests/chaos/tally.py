"""What was done to which verb, how it ended, and every promise that was broken."""

import signal
from collections import Counter
from dataclasses import dataclass, field

from faults import KILL, NONE, Attempt

Done = Counter[tuple[str, str]]


@dataclass
class Tally:
    """What was done and what came of it."""

    seed: int
    seconds: float = 0.0
    done: Done = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def injected(self) -> int:
        """The faults that were really injected."""
        return sum(n for (_, fault), n in self.done.items() if fault != NONE)

    def ended(self, attempt: Attempt, code: int | None) -> None:
        """Note how a verb ended, and whether it should not have ended so."""
        name = "killed" if code == -signal.SIGKILL else f"exit {code}"
        self.codes[name] += 1
        self.done[attempt.verb, attempt.fault] += 1
        told = attempt.told()
        what = f"{attempt.verb}, {attempt.fault}: "
        if code is None:
            self.wrong.append(f"{what}still running after minutes")
        elif "Traceback" in told or code not in (0, 2, 3, -signal.SIGKILL):
            said = [line for line in told.splitlines() if line.startswith("nightrank: ")]
            self.wrong.append(f"{what}{name}: {said or told[-400:]}")

    def add(self, other: "Tally") -> None:
        """Add the counts of another lane."""
        self.done += other.done
        self.codes += other.codes
        self.reads += other.reads
        self.wrong += other.wrong

    def table(self) -> str:
        """Return the counts as a Markdown table, verbs by faults."""
        kinds = sorted({fault for _, fault in self.done})
        verbs = sorted({verb for verb, _ in self.done})
        lines = [f"| verb | {' | '.join(kinds)} |", f"| --- |{' ---: |' * len(kinds)}"]
        lines += [
            f"| {verb} | {' | '.join(str(self.done[verb, kind] or '') for kind in kinds)} |"
            for verb in verbs
        ]
        ends = ", ".join(f"{count} {code}" for code, count in sorted(self.codes.items()))
        kills = sum(n for (_, fault), n in self.done.items() if fault == KILL)
        return "\n".join(
            [
                *lines,
                "",
                f"seed {self.seed}, {self.seconds:.0f} s: {sum(self.done.values())} verbs",
                f"{self.injected} faults, {kills} of them kills, {self.reads} reads beside them",
                f"{len(self.wrong)} promises broken",
                f"ends: {ends}",
            ]
        )
