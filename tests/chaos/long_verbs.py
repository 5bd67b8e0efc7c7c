"""Verbs of many seconds in a warehouse of their own: ingest and score by Spark, train and export.

- Two sources take turns that differ in their interactions' values alone, which are one commit. So
  the visible night has to be that of one source or of the other, whole; an undisturbed run of each
  in another warehouse says which rows these are.
- Each verb gets a fault: its process group is killed or stopped, its Java process alone is killed,
  its files may not grow, or the disk fills. A publish or a maintain may run beside it.
- Now and then, and at the end, the source is ingested, scored and published without a fault. That
  has to succeed, and to give the rows of the undisturbed run.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import faults
import reader
import scene
from deltalake import DeltaTable
from disk import Disk, mounted
from small_encoder import write_small_encoder
from tally import Tally
from toy_version import champion

from jobs.settings.model import Settings

NIGHT = "2025-12-01"
VERBS = ("score",) * 3 + ("ingest",) * 2 + ("train", "export")  # in each turn, in any order
WITH_JAVA = ("score", "ingest")
KINDS = (
    *(faults.KILL,) * 6,
    *(faults.PAUSE, faults.JAVA_KILLED, faults.SMALL_FILES, faults.DISK_FULL),
)
CHECKED = 0.15  # share of the verbs after which everything is run without a fault
LONGEST = 400.0  # seconds that a verb may take on a busy machine
FIRST_GUESS = 20.0  # seconds that a verb takes, until one was measured
QUICK = {"SPARK_SUBMIT_OPTS": "-XX:TieredStopAtLevel=1", "OMP_WAIT_POLICY": "PASSIVE"}


@dataclass
class Grouped(faults.Attempt):
    """A verb as the command line starts it: a process group of its own, with Java in it."""

    process: subprocess.Popen[bytes]

    def send(self, kind: signal.Signals) -> bool:
        """Send a signal to the whole group; return whether the verb was still running."""
        if self.process.poll() is not None:
            return False
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, kind)
        return True

    def kill_java(self) -> bool:
        """Kill the verb's Java process alone; return whether there was one."""
        for place in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                identifier, _, rest = place.read_text().partition(" (")
                name, _, fields = rest.rpartition(") ")
                if name == "java" and int(fields.split()[2]) == self.process.pid:
                    os.kill(int(identifier), signal.SIGKILL)
                    return True
        return False

    def ended(self, seconds: float) -> int | None:
        """Return the exit code once it has ended, None if it hasn't within so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll()


class LongVerbs:
    """Harm to verbs of many seconds until a moment of the monotonic clock, in a thread."""

    def __init__(self, folder: Path, seed: int, until: float) -> None:
        self._chance, self._folder, self._until = random.Random(seed), folder, until
        self._tally, self._took = Tally(seed), dict.fromkeys(VERBS, FIRST_GUESS)
        self._rows: dict[Path, list[tuple[str, str, float]]] = {}
        self._nights: dict[Path, str] = {}
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def ended(self) -> Tally:
        """Wait until all was run once more, and return the counts and what was wrong."""
        self._thread.join()
        return self._tally

    def _live(self) -> None:
        try:
            self._prepare()
            with mounted(self._folder) as (root, disk):
                self._harm(root, disk)
        except Exception as error:  # noqa: BLE001  (in a thread: whatever it is has to be told)
            self._tally.wrong.append(f"long verbs: {type(error).__name__}: {error}")

    def _prepare(self) -> None:
        """Write the sources, and find out what an undisturbed run makes of each."""
        for name, turned in (("plain", False), ("turned", True)):
            source = self._folder / name
            self._rows[source] = scene.source(source, self._tally.seed, turned)
        write_small_encoder(self._folder / "encoder")
        root = self._folder / "reference"
        champion(Settings(warehouse=str(root)), scene.source_items())
        for source in self._rows:
            self._nights[source] = self._undisturbed(root, source)

    def _harm(self, root: Path, disk: Disk | None) -> None:
        champion(Settings(warehouse=str(root)), scene.source_items())
        sources = list(self._rows)
        self._checked(root, sources[0])
        with reader.watching(root, self._folder, self._tally, set(self._nights.values())):
            verbs, kinds = _in_turns(VERBS, self._chance), _in_turns(KINDS, self._chance)
            while time.monotonic() < self._until:
                source = self._chance.choice(sources)
                self._attempt(root, disk, next(verbs), source, next(kinds))
                if self._chance.random() < CHECKED:
                    self._checked(root, source)
            self._checked(root, self._chance.choice(sources))
        for verb in ("train", "export"):
            self._succeed(root, verb, sources[0])
        self._tally.wrong += scene.findings(str(root))

    def _attempt(self, root: Path, disk: Disk | None, verb: str, source: Path, fault: str) -> None:
        """Run a verb with a fault, and now and then another one beside it."""
        without_java = fault == faults.JAVA_KILLED and verb not in WITH_JAVA
        if without_java or (fault == faults.DISK_FULL and disk is None):
            fault = faults.KILL
        limit = int(10 ** self._chance.uniform(4.5, 6.0))  # bytes of a file: 32 kB to 1 MB
        prepare = partial(faults.limit_files, limit) if fault == faults.SMALL_FILES else None
        attempt = self._begun(root, verb, source, fault, prepare)
        with self._beside(root):
            after = self._chance.uniform(0.1, 1.0) * self._took[verb]
            if attempt.ended(after) is not None and prepare is None:
                attempt.fault = faults.NONE  # it was faster
            elif fault == faults.KILL:
                attempt.send(signal.SIGKILL)
            elif fault == faults.PAUSE:
                attempt.send(signal.SIGSTOP)
                time.sleep(self._chance.uniform(0.5, 3))
                attempt.send(signal.SIGCONT)
            elif fault == faults.JAVA_KILLED and not attempt.kill_java():
                attempt.fault = faults.NONE  # it has none
            with disk.full() if disk and fault == faults.DISK_FULL else _nothing():
                code = attempt.ended(LONGEST)
        attempt.send(signal.SIGKILL)
        self._tally.ended(attempt, code)

    @contextmanager
    def _beside(self, root: Path) -> Iterator[None]:
        """Publish or maintain beside the body, with a fault of its own, or do nothing."""
        verb = self._chance.choice((None, None, "publish", "maintain"))
        if verb is None:
            yield
            return
        arguments = [verb, *(["--run-date", NIGHT] if verb == "publish" else [])]
        fault, log = self._chance.choice(faults.FAULTS), self._folder / "beside.log"
        log.unlink(missing_ok=True)
        time.sleep(self._chance.uniform(0, FIRST_GUESS))
        step = self._chance.choice((-400, -1, 1, 400))
        attempt = faults.begin([*arguments, "--warehouse", str(root)], fault, log, step)
        attempt.harm(self._chance, 1.0)
        yield
        attempt.process.join(LONGEST)
        self._tally.ended(attempt, attempt.process.exitcode)
        attempt.process.kill()

    def _checked(self, root: Path, source: Path) -> None:
        """Run everything without a fault, and compare with the undisturbed run of `source`."""
        night = self._undisturbed(root, source)
        if night != self._nights[source]:
            self._tally.wrong.append(f"a retry gave another night than {source.name} undisturbed")
        table = DeltaTable(root / "interactions").to_pyarrow_table().to_pylist()
        there = sorted((row["user_id"], row["item_id"], row["value"]) for row in table)
        if there != sorted(self._rows[source]):
            self._tally.wrong.append(f"a retry left {len(there)} interactions, not as given")

    def _undisturbed(self, root: Path, source: Path) -> str:
        """Ingest, score and publish, which has to succeed; return the night's fingerprint."""
        for verb in ("ingest", "score", "publish"):
            self._succeed(root, verb, source)
        table = DeltaTable(root / "recommendations").to_pyarrow_table()
        return reader.fingerprint(table.to_pylist())

    def _succeed(self, root: Path, verb: str, source: Path) -> None:
        begun = time.monotonic()
        attempt = self._begun(root, verb, source, faults.NONE)
        code = attempt.ended(LONGEST)
        attempt.send(signal.SIGKILL)
        self._took[verb] = time.monotonic() - begun
        self._tally.ended(attempt, code)
        if code != 0:
            self._tally.wrong.append(f"{verb}, run again: {code}: {attempt.told()[-400:]}")

    def _begun(
        self, root: Path, verb: str, source: Path, fault: str, prepare: partial[None] | None = None
    ) -> Grouped:
        arguments = {
            "ingest": ["ingest", str(source)],
            "score": ["score", "--run-date", NIGHT, "--k", "5"],
            "publish": ["publish", "--run-date", NIGHT],
            # another seed each time: a version that is there isn't trained again
            "train": ["train", "--seed", str(self._chance.randrange(10_000)),
                      "--epochs", "1", "--tuned-layers", "1", "--factors", "16",
                      "--encoder", str(self._folder / "encoder")],
            "export": ["export", "--parity-tolerance", "1", "--reports", str(self._folder)],
        }  # fmt: skip
        command = [sys.executable, "-m", "jobs.cli", *arguments[verb], "--warehouse", str(root)]
        log = self._folder / "verb.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, start_new_session=True, preexec_fn=prepare,
                env={**os.environ, **QUICK},
            )  # fmt: skip
        return Grouped(verb, fault, log, process)


def _in_turns(choices: Sequence[str], chance: random.Random) -> Iterator[str]:
    """Yield all of the choices in a random order, again and again.

    Drawn each time anew, a choice may never come in a run that has room for thirty.
    """
    while True:
        yield from chance.sample(choices, len(choices))


@contextmanager
def _nothing() -> Iterator[None]:
    yield
