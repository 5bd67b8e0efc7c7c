"""Real verbs of a real warehouse, killed, paused, raced and starved, and a reader beside them.

    make chaos MINUTES=5 SEED=1

- One to three verbs at once, each in its process, with a fault each; the disk fills or turns
  read-only now and then, where the machine lets us mount a small one.
- With Spark, verbs of many seconds get theirs in a second warehouse meanwhile (`long_verbs`), and
  take most of the machine.
- At the end everything is run once more without faults, and has to come out as if nothing had
  happened: every night as staged, every row ingested once, nothing for `doctor` to find.

It prints its seed and a table of counts, and ends with 1 where a promise was broken.
"""

import argparse
import datetime as dt
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faults
import reader
import scene
from deltalake import DeltaTable
from disk import Disk, mounted
from long_verbs import LongVerbs
from tally import Tally

REST = 2.0  # seconds of rest for each second of work, where verbs of many seconds run beside


def run(
    seconds: float, seed: int, folder: Path, versions: bool = False, spark: bool = False
) -> Tally:
    """Do harm for so long; return the counts and every promise that was broken.

    `versions`: also promote model versions. `spark`: also ingest, score, train and export.
    """
    tally, chance = Tally(seed), random.Random(seed)
    begun = time.monotonic()
    faults.SERVER.set_forkserver_preload(list(faults.PRELOADED))
    with mounted(folder) as (root, disk):
        settings = scene.build(root, with_versions=versions)
        beside = LongVerbs(folder / "long", seed, begun + seconds) if spark else None
        with reader.watching(root, folder, tally):
            generation = len(scene.NIGHTS)
            while (now := time.monotonic()) < begun + seconds:
                generation += 3
                _round(settings.warehouse, generation, chance, tally, disk, versions)
                time.sleep(REST * (time.monotonic() - now) if beside else 0)
        _recover(settings.warehouse, folder, tally, versions)
        tally.wrong += scene.findings(settings.warehouse)
        if beside is not None:
            tally.add(beside.ended())
    tally.seconds = time.monotonic() - begun
    return tally


def _round(
    root: str,
    generation: int,
    chance: random.Random,
    tally: Tally,
    disk: Disk | None,
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
            attempt.process.join(120)
    for attempt in attempts:
        tally.ended(attempt, attempt.process.exitcode)
        attempt.process.kill()
        attempt.log.unlink()


def _arguments(root: str, generation: int, chance: random.Random, versions: bool) -> list[str]:
    night = str(chance.choice(scene.NIGHTS))
    choices = {
        "publish": ["publish", "--run-date", night],
        "stage": ["stage", root, night, str(generation)],
        "rollback": ["rollback"],
        "maintain": ["maintain", *scene.KEPT],
        "sql": ["sql", "SELECT count(*), count(DISTINCT score) FROM recommendations_latest"],
        "diff": ["diff", night, str(chance.choice(scene.NIGHTS))],
        "forget": ["forget", chance.choice(scene.users()[: scene.FORGOTTEN]), "--reports", root],
    }
    verbs = ["publish"] * 5 + ["stage"] * 3 + ["rollback", "maintain", "sql", "diff", "forget"]
    if versions:
        choices["promote"] = ["promote", chance.choice(list(scene.NDCG))]
        verbs.append("promote")
    chosen = choices[chance.choice(verbs)]
    return chosen if chosen[0] == "stage" else [*chosen, "--warehouse", root]


@contextmanager
def _fine() -> Iterator[None]:
    yield None


def _recover(root: str, folder: Path, tally: Tally, versions: bool) -> None:
    """Run every verb once more without a fault; each night has to come out as it is staged."""
    tally.wrong += _undisturbed(["forget", scene.users()[-1], "--reports", root], root, folder)
    expected = scene.K * len(DeltaTable(f"{root}/users").to_pyarrow_table())
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
        if len(there) != expected or {row["score"] for row in there} != {float(generation)}:
            tally.wrong.append(f"after all: night {night} has {len(there)} rows, not as staged")
    _, wrong = reader.look(Path(root), 0)
    tally.wrong += [f"after all: {one}" for one in wrong]
    tally.wrong += _undisturbed(["maintain"], root, folder)


def _undisturbed(arguments: list[str], root: str, folder: Path) -> list[str]:
    attempt = faults.begin([*arguments, "--warehouse", root], faults.NONE, folder / "last.log")
    attempt.process.join(120)
    good = attempt.process.exitcode == 0
    return [] if good else [f"after all: {arguments} ended with {attempt.told()[-300:]}"]


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
