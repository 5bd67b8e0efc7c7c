"""A verb in a process of its own, and what is done to that process.

- It runs `jobs.cli.main` as the command line does, forked from a server that has imported the
  packages, so that a verb begins within milliseconds.
- Starvation is the operating system's: a limit on the size of files, on open files, or a disk that
  is full or read-only. The clock of the lineage can be stepped.
"""

import contextlib
import datetime as dt
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
PRELOADED = (
    "faults", "scene", "jobs.context", "jobs.steps.publish", "jobs.steps.rollback",
    "jobs.steps.maintain", "jobs.steps.promote", "jobs.steps.sql", "jobs.steps.history.diff",
    "jobs.steps.history.forget", "jobs.steps.upkeep.doctor",
)  # fmt: skip
KILL, PAUSE, SMALL_FILES, FEW_FILES, CLOCK, NONE = (
    "killed", "paused", "no room for a file", "no file handles", "clock stepped", "undisturbed",
)  # fmt: skip
DISK_FULL, READ_ONLY, JAVA_KILLED = "disk full", "read-only", "Java killed"
SMALLEST = 2000  # bytes: less than a night's file, more than what a verb says on its terminal
FAULTS = (KILL, KILL, KILL, PAUSE, SMALL_FILES, FEW_FILES, CLOCK, NONE)


@dataclass
class Attempt:
    """A verb that runs, what is done to it, and what it writes to its terminal."""

    verb: str
    fault: str
    log: Path

    def told(self) -> str:
        """Return what the verb has written to its terminal."""
        return self.log.read_text("utf-8", errors="replace")


@dataclass
class Forked(Attempt):
    """A verb in a process of our server."""

    process: ForkServerProcess

    def harm(self, chance: random.Random, longest: float) -> None:
        """Kill or pause the process at a moment of its run."""
        if self.fault not in (KILL, PAUSE):
            return
        self.process.join(chance.uniform(0, longest))
        kind = signal.SIGKILL if self.fault == KILL else signal.SIGSTOP
        if not self._sent(kind):
            self.fault = NONE  # it was faster
        elif kind == signal.SIGSTOP:
            time.sleep(chance.uniform(0.1, 0.5))
            self._sent(signal.SIGCONT)

    def _sent(self, kind: signal.Signals) -> bool:
        if self.process.pid is None or not self.process.is_alive():
            return False
        try:
            os.kill(self.process.pid, kind)
        except ProcessLookupError:
            return False
        return True


def begin(arguments: list[str], fault: str, log: Path, step: int = 0) -> Forked:
    """Start a verb with a fault; `step` are the days that its clock is off."""
    process = SERVER.Process(target=_child, args=(arguments, fault, str(log), step), daemon=True)
    process.start()
    return Forked(arguments[0], fault, log, process)


def _child(arguments: list[str], fault: str, log: str, step: int) -> None:
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(stream, descriptor)
    os.environ["RUST_BACKTRACE"] = "0"  # as it is where nobody asks for frames
    if fault == CLOCK:
        _step_clock(step)
    if fault == FEW_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
    if fault == SMALL_FILES:
        limit_files(SMALLEST)
    if arguments[0] == "stage":  # what `score` commits, without a JVM
        import scene

        with contextlib.suppress(OSError, Exception):
            scene.stage(Path(arguments[1]), dt.date.fromisoformat(arguments[2]), int(arguments[3]))
        return
    from jobs.cli import main

    main(arguments)
    sys.stdout.flush()


def limit_files(size: int) -> None:
    """Let no file of this process, or of those that it starts, grow beyond so many bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _step_clock(days: int) -> None:
    """Let the lineage of this process see another day."""
    from jobs.warehouse import lineage

    class Stepped(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return dt.datetime.now(tz) + dt.timedelta(days=days)

    class Module:
        datetime, date, UTC = Stepped, dt.date, dt.UTC

    lineage.dt = Module  # type: ignore[assignment]
