"""make bench: the ranker compared with its peers: same vectors, same k, same threads, one run.

- Each contender has a process of its own, so that its peak memory can be measured (including
  Spark's JVM and Python workers). It starts, makes its inputs and warms up before timing begins.
- Contenders take turns: each round runs every contender once, so that a busy machine slows all of
  them alike. The best round counts; a contender that takes a minute runs once.
- The first round is reported too, because a nightly run is the first job of its JVM, which is
  still compiling.
- A contender whose library is absent is listed, and the comparison continues.

Trade-off: the default sizes are small, so that it takes a few minutes on a laptop; `--sizes` and
`--only` choose others.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from jobs.bench import peers, spark
from jobs.bench.memory import PeakMemory
from jobs.bench.peers import DIM, K, Race, Run
from jobs.reports.markdown import table
from jobs.reports.plots import plot_speed
from models.processors import usable_cores

SIZES = ("2000x2000", "10000x10000", "20000x20000")
ROUNDS, ONCE_SECONDS = 3, 60.0
CONTENDERS: dict[str, Callable[[Race], Run]] = {
    "product": peers.product,
    "kernel": peers.kernel,
    "kernel_without_filters": peers.kernel_without_filters,
    "faiss": peers.faiss,
    "implicit": peers.implicit,
    "torch": peers.torch,
    "spark_job": spark.spark_job,
    "spark_write": spark.spark_write,
    "spark_als": spark.spark_als,
}
Row = dict[str, str | int | float]


@dataclass
class _Entrant:
    """A contender in its own process, and its measurements so far."""

    name: str
    process: BaseProcess
    pipe: Connection
    start_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    worker_mb: float = 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison; write `bench.json`, `bench.md` and `bench.png` to the reports."""
    parser = argparse.ArgumentParser(prog="bench", description="Speed, side by side")
    parser.add_argument("reports", nargs="?", default="reports", type=Path)
    parser.add_argument(
        "--sizes", nargs="+", default=list(map(_size, SIZES)), metavar="USERSxITEMS", type=_size
    )
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=CONTENDERS)
    parser.add_argument("--rounds", default=ROUNDS, type=int)
    parser.add_argument("--threads", default=usable_cores(), type=int)
    chosen = parser.parse_args(arguments)
    rows: list[Row] = []
    notes: list[str] = []
    for users, items in chosen.sizes:
        race = Race(users, items, chosen.threads)
        names = ["product", *(name for name in chosen.only if name != "product")]
        found, said = compare(race, names, chosen.rounds)
        rows, notes = rows + found, notes + said
    chosen.reports.mkdir(parents=True, exist_ok=True)
    (chosen.reports / "bench.json").write_text(json.dumps(rows, indent=2), "utf-8")
    (chosen.reports / "bench.md").write_text(page(rows, notes), "utf-8")
    plot_speed(chosen.reports / "bench.png", rows)


def compare(race: Race, names: Sequence[str], rounds: int) -> tuple[list[Row], list[str]]:
    """Return a row for each contender that could start, and notes for the reader."""
    entrants, notes = [], []
    for name in names:
        entrant = _entered(name, race)
        answer = entrant.pipe.recv()
        if isinstance(answer, str):
            entrant.process.join()
            notes.append(f"{name} is absent: {answer}; `uv pip install --group bench` brings it")
        else:
            entrant.start_seconds = answer
            entrants.append(entrant)
    for _ in range(rounds):
        for entrant in entrants:
            if not entrant.seconds or entrant.seconds[0] < ONCE_SECONDS:
                entrant.pipe.send("run")
                seconds, entrant.peak_mb, entrant.worker_mb = entrant.pipe.recv()
                entrant.seconds.append(seconds)
    for entrant in entrants:
        entrant.pipe.send("end")
        entrant.process.join()
        if entrant.worker_mb:
            notes.append(
                f"{entrant.name}, {race.users} x {race.items}: start-up and warm-up "
                f"{entrant.start_seconds:.1f} s, a Python worker's peak {entrant.worker_mb:.0f} MB"
            )
    product = min(entrants[0].seconds)
    rows = [_row(race, entrant, product) for entrant in entrants]
    for line in (*rows, *notes):
        print(f"bench: {line}", flush=True)
    return rows, notes


def page(rows: list[Row], notes: list[str]) -> str:
    """Return the rows as a Markdown table, and the notes below."""
    head = list(rows[0])
    lines = table(head, ([str(row[name]) for name in head] for row in rows))
    return f"# Speed, side by side\n\n![times the product](bench.png)\n\n{lines}\n\n" + "".join(
        f"- {note}\n" for note in notes
    )


def _row(race: Race, entrant: _Entrant, product: float) -> Row:
    seconds = min(entrant.seconds)
    return {
        "name": entrant.name,
        "users": race.users,
        "items": race.items,
        "dim": DIM,
        "k": K,
        "threads": race.threads,
        "seconds": round(seconds, 4),
        "first_seconds": round(entrant.seconds[0], 4),
        "ratio_to_product": round(seconds / product, 3),
        "pairs_per_second": round(race.users * race.items / seconds),
        "peak_mb": round(entrant.peak_mb),
    }


def _size(text: str) -> tuple[int, int]:
    users, _, items = text.partition("x")
    return int(users), int(items)


def _entered(name: str, race: Race) -> _Entrant:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_take_part, args=(theirs, name, race), daemon=True)
    process.start()
    theirs.close()
    return _Entrant(name, process, ours)


def _take_part(pipe: Connection, name: str, race: Race) -> None:
    began = time.monotonic()
    try:
        run = CONTENDERS[name](race)
        if not name.startswith("spark"):
            run()
    except ImportError as error:
        pipe.send(str(error))
        return
    pipe.send(time.monotonic() - began)
    with PeakMemory() as memory:
        while pipe.recv() == "run":
            began = time.perf_counter()
            run()
            seconds = time.perf_counter() - began
            pipe.send((seconds, memory.peak_mb(), memory.worker_mb()))


if __name__ == "__main__":
    main()
