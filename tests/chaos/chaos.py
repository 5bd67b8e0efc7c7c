"""Real verbs of a real warehouse, killed, paused, raced and starved, and a reader beside them.

    make chaos MINUTES=5 SEED=1

- One to three verbs at once, each in its process, with a fault each; the disk fills or turns
  read-only now and then, where the machine lets us mount a small one.
- With Spark, `ingest` and `score` of a second warehouse are killed meanwhile.
- At the end everything is run once more without faults, and has to come out as if nothing had
  happened: every night as staged, every row ingested once, nothing for `doctor` to find.

It prints its seed and a table of counts, and ends with 1 where a promise was broken.
"""

import argparse
import datetime as dt
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import faults
import reader
import scene
from deltalake import DeltaTable

DISK_MB = 256
TWICE = Counter[tuple[str, str]]


@dataclass
class Tally:
    """What was done and what came of it."""

    seed: int
    seconds: float = 0.0
    done: TWICE = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    reads: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def injected(self) -> int:
        """The faults that were really injected."""
        return sum(n for (_, fault), n in self.done.items() if fault != faults.NONE)

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
        return "\n".join(
            [
                *lines,
                "",
                f"seed {self.seed}, {self.seconds:.0f} s: {sum(self.done.values())} verbs",
                f"{self.injected} faults, {self.reads} reads beside them",
                f"{len(self.wrong)} promises broken",
                f"ends: {ends}",
            ]
        )


def run(
    seconds: float, seed: int, folder: Path, versions: bool = False, spark: bool = False
) -> Tally:
    """Do harm for so long; return the counts and every promise that was broken.

    `versions`: also promote model versions. `spark`: also kill `ingest` and `score`.
    """
    tally, chance = Tally(seed), random.Random(seed)
    begun = time.monotonic()
    faults.SERVER.set_forkserver_preload(list(faults.PRELOADED))
    with _disk(folder) as (root, disk):
        settings = scene.build(root, with_versions=versions)
        beside = _Spark(folder / "spark", seed) if spark else None
        with _watched(root, folder, tally):
            if beside is not None:
                beside.begin(begun + seconds)
            generation = len(scene.NIGHTS)
            while time.monotonic() < begun + seconds:
                generation += 3
                _round(settings.warehouse, generation, chance, tally, disk, versions)
        if beside is not None:
            beside.end(tally)
        _recover(settings.warehouse, folder, tally, versions)
        tally.wrong += _doctor(settings.warehouse)
    tally.seconds = time.monotonic() - begun
    return tally


def _round(
    root: str,
    generation: int,
    chance: random.Random,
    tally: Tally,
    disk: "Disk | None",
    versions: bool,
) -> None:
    """Run one to three verbs at once, each with a fault."""
    width = chance.choice((1, 2, 2, 3))
    attempts = []
    with disk.trouble(chance) if disk and chance.random() < 0.15 else _fine() as trouble:
        for place in range(width):
            fault = trouble or chance.choice(faults.FAULTS)
            log = Path(tempfile.mkstemp(suffix=".log")[1])
            arguments = _arguments(root, generation + place, chance, versions)
            step = chance.choice((-400, -1, 1, 400))
            attempts.append(faults.begin(arguments, fault, log, step))
        for attempt in attempts:
            attempt.harm(chance, 0.6)
        for attempt in attempts:
            attempt.process.join(60)
    for attempt in attempts:
        tally.wrong += _judged(attempt, tally)
        tally.done[attempt.verb, attempt.fault] += 1
        attempt.log.unlink()


def _arguments(root: str, generation: int, chance: random.Random, versions: bool) -> list[str]:
    night = str(chance.choice(scene.NIGHTS))
    choices = {
        "publish": ["publish", "--run-date", night],
        "stage": ["stage", root, night, str(generation)],
        "rollback": ["rollback"],
        "maintain": ["maintain", "--keep-nights", str(scene.KEPT_NIGHTS)],
        "sql": ["sql", "SELECT count(*), count(DISTINCT score) FROM recommendations_latest"],
        "diff": ["diff", night, str(chance.choice(scene.NIGHTS))],
    }
    verbs = ["publish"] * 5 + ["stage"] * 3 + ["rollback", "maintain", "sql", "diff"]
    if versions:
        choices["promote"] = ["promote", chance.choice(list(scene.NDCG))]
        verbs.append("promote")
    chosen = choices[chance.choice(verbs)]
    return chosen if chosen[0] == "stage" else [*chosen, "--warehouse", root]


def _judged(attempt: faults.Attempt, tally: Tally) -> Iterator[str]:
    """Yield what the verb's end should not have been."""
    code = attempt.process.exitcode
    name = "killed" if code == -signal.SIGKILL else f"exit {code}"
    tally.codes[name] += 1
    told = attempt.told()
    what = f"{attempt.verb}, {attempt.fault}: "
    if code is None:
        yield f"{what}still running after a minute"
        attempt.process.kill()
    elif "Traceback" in told or code not in (0, 2, 3, -signal.SIGKILL):
        said = [line for line in told.splitlines() if line.startswith("nightrank: ")]
        yield f"{what}{name}: {said or told[-400:]}"


class Disk:
    """A small disk of its own, which can be filled or turned read-only for a while."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @contextmanager
    def trouble(self, chance: random.Random) -> Iterator[str]:
        """Fill the disk, or make it read-only, while the body runs."""
        if chance.random() < 0.5:
            filler = self.place / "filler"
            with suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(bytes(2**16))
            yield "disk full"
            filler.unlink()
            return
        readonly = subprocess.run(
            ["mount", "-o", "remount,ro", str(self.place)], check=False, capture_output=True
        )
        yield "read-only" if readonly.returncode == 0 else faults.NONE
        subprocess.run(["mount", "-o", "remount,rw", str(self.place)], check=True)


@contextmanager
def _fine() -> Iterator[None]:
    yield None


@contextmanager
def _disk(folder: Path) -> Iterator[tuple[Path, Disk | None]]:
    """Yield where the warehouse stands: on a small disk where one can be mounted."""
    place = folder / "disk"
    place.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = (
        mounted
        and not subprocess.run(["mount", *options], check=False, capture_output=True).returncode
    )
    try:
        yield place / "warehouse", Disk(place) if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def _watched(root: Path, folder: Path, tally: Tally) -> Iterator[None]:
    """Let the independent reader look at the warehouse while the body runs."""
    out, stop = folder / "reader.json", folder / "stop"
    watcher = faults.SERVER.Process(target=reader.watch, args=(str(root), str(out), str(stop)))
    watcher.start()
    try:
        yield
    finally:
        stop.touch()
        watcher.join(60)
    seen = json.loads(out.read_text("utf-8"))
    tally.reads += seen["reads"]
    tally.wrong += [f"the reader: {one}" for one in seen["wrong"]]


def _recover(root: str, folder: Path, tally: Tally, versions: bool) -> None:
    """Run every verb once more without a fault; each night has to come out as it is staged."""
    generations = {}
    for generation, night in enumerate(scene.NIGHTS, 10_000):
        scene.stage(Path(root), night, generation)
        generations[night] = generation
        tally.wrong += _undisturbed(["publish", "--run-date", str(night)], root, folder)
    if versions:
        tally.wrong += _undisturbed(["promote", max(scene.NDCG)], root, folder)
    rows = DeltaTable(f"{root}/recommendations").to_pyarrow_table().to_pylist()
    for night, generation in generations.items():
        there = [row for row in rows if row["run_date"] == night]
        if len(there) != scene.ROWS or {row["score"] for row in there} != {float(generation)}:
            tally.wrong.append(f"after all: night {night} has {len(there)} rows, not as staged")
    _, wrong = reader.look(Path(root), 0)
    tally.wrong += [f"after all: {one}" for one in wrong]
    tally.wrong += _undisturbed(["maintain"], root, folder)


def _undisturbed(arguments: list[str], root: str, folder: Path) -> list[str]:
    attempt = faults.begin([*arguments, "--warehouse", root], faults.NONE, folder / "last.log")
    attempt.process.join(120)
    good = attempt.process.exitcode == 0
    return [] if good else [f"after all: {arguments} ended with {attempt.told()[-300:]}"]


def _doctor(root: str) -> list[str]:
    from jobs.context import Context
    from jobs.settings.model import Settings
    from jobs.steps.upkeep import doctor

    result = doctor.run(Context.of(Settings(warehouse=root, reports=root)), repair=True)
    return [f"doctor: {one['place']}: {one['problem']}" for one in result["findings"]]


class _Spark:
    """`ingest` and `score` by Spark, killed at a random moment, in a warehouse of their own."""

    def __init__(self, folder: Path, seed: int) -> None:
        from toy_version import champion

        from jobs.settings.model import Settings

        self._chance, self._folder = random.Random(seed), folder
        self._source = scene.source(folder, seed)
        self._warehouse = folder / "warehouse"
        champion(Settings(warehouse=str(self._warehouse)), [f"b{n}" for n in range(30)])
        self._done: TWICE = Counter()
        self._wrong: list[str] = []
        self._thread = threading.Thread(target=self._harm)
        self._until = 0.0

    def begin(self, until: float) -> None:
        self._until = until
        self._thread.start()

    def end(self, tally: Tally) -> None:
        """Run both to their end, and compare what they left with what they were given."""
        self._thread.join()
        first = [self._verb("ingest", None), self._verb("score", None)]
        rows = self._staged()
        again = [self._verb("ingest", None), self._verb("score", None)]
        if any(code != 0 for code in (*first, *again)):
            self._wrong.append(f"after all: ingest and score ended with {first} and {again}")
        if rows != self._staged():
            self._wrong.append("after all: the same night was scored to other rows")
        lines = (self._source / "interactions.csv").read_text("utf-8").splitlines()[1:]
        given = sorted(tuple(line.split(",")[:2]) for line in lines)
        table = DeltaTable(self._warehouse / "interactions").to_pyarrow_table().to_pylist()
        if sorted((row["user_id"], row["item_id"]) for row in table) != given:
            self._wrong.append(f"after all: {len(table)} interactions, {len(given)} were given")
        self._wrong += _doctor(str(self._warehouse))
        tally.done += self._done
        tally.wrong += self._wrong

    def _harm(self) -> None:
        while time.monotonic() < self._until:
            verb = self._chance.choice(("ingest", "score"))
            self._verb(verb, self._chance.uniform(3, 30))

    def _verb(self, verb: str, kill_after: float | None) -> int:
        arguments = {
            "ingest": ["ingest", str(self._source)],
            "score": ["score", "--run-date", "2025-12-01", "--k", "5"],
        }
        command = [sys.executable, "-m", "jobs.cli", *arguments[verb]]
        log = self._folder / "verb.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*command, "--warehouse", str(self._warehouse)],
                stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
            with suppress(subprocess.TimeoutExpired):
                process.wait(kill_after)
            fault = faults.NONE
            if process.poll() is None:
                fault = faults.KILL
                os.killpg(process.pid, signal.SIGKILL)  # the group is this verb and its Java
                process.wait()
        self._done[verb, fault] += 1
        told = log.read_text("utf-8", errors="replace")
        allowed = (0, 2) if kill_after is not None else (0,)
        if fault == faults.NONE and (process.returncode not in allowed or "Traceback" in told):
            self._wrong.append(f"{verb}: exit {process.returncode}: {told[-400:]}")
        return process.returncode

    def _staged(self) -> list[tuple[object, ...]]:
        rows = DeltaTable(self._warehouse / "recommendations_staged").to_pyarrow_table()
        return sorted(tuple(row.values()) for row in rows.to_pylist())


def main() -> None:
    """Run from the command line; print the table, and exit with 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=int(dt.datetime.now(dt.UTC).timestamp()))
    parser.add_argument("--spark", action=argparse.BooleanOptionalAction, default=True)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        tally = run(given.minutes * 60, given.seed, Path(folder), True, given.spark)
    print(tally.table())
    print(*tally.wrong, sep="\n")
    sys.exit(1 if tally.wrong else 0)


if __name__ == "__main__":
    main()
