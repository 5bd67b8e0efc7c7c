"""An independent reader: it knows Delta and what was promised, and none of nightrank's code.

It reads again and again which night is visible and that night's rows, and notes whatever it should
never see: a mixture of stagings, a hole, a repeat, an empty night, a record of runs that shrinks.
"""

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import faults
from deltalake import DeltaTable
from tally import Tally

TRIES = 5  # `forget` deletes at once what older versions hold, so a slow reader has to begin anew


@contextmanager
def watching(
    root: Path, folder: Path, tally: Tally, nights: Collection[str] = ()
) -> Iterator[None]:
    """Let the reader look at the warehouse while the body runs; what it saw goes to `tally`.

    The visible night has to be one of `nights`, told by their `fingerprint`, where there are any.
    """
    out, stop = folder / "reader.json", folder / "stop"
    arguments = (str(root), str(out), str(stop), list(nights))
    watcher = faults.SERVER.Process(target=watch, args=arguments)
    watcher.start()
    try:
        yield
    finally:
        stop.touch()
        watcher.join(60)
    seen = json.loads(out.read_text("utf-8"))
    tally.reads += seen["reads"]
    tally.wrong += [f"the reader: {one}" for one in seen["wrong"]]


def watch(root: str, out: str, stop: str, nights: Collection[str]) -> None:
    """Read until the file `stop` is there; write the counts and what was wrong to `out`."""
    reads, failed, wrong, seen = 0, 0, [], 0
    while not Path(stop).exists():
        try:
            known, found = look(Path(root), seen, nights)
            failed = 0
        except Exception as error:  # noqa: BLE001  (a reader that can't read is what is looked for)
            failed += 1
            if failed == TRIES or "not found" not in str(error).lower():
                wrong.append(f"reading failed: {type(error).__name__}: {str(error)[:300]}")
        else:
            seen = max(seen, known)
            wrong += found
        reads += 1
        time.sleep(0.1)  # or it would take a core from those that it watches
    Path(out).write_text(json.dumps({"reads": reads, "wrong": wrong[:20]}), "utf-8")


def look(root: Path, seen: int, nights: Collection[str] = ()) -> tuple[int, list[str]]:
    """Return the number of the newest run, and what is wrong now; `seen` was it before."""
    opened = DeltaTable(root / "runs")
    runs = opened.to_pyarrow_table().to_pylist()
    last = max(row["sequence"] for row in runs)
    # `maintain` removes old ones, and says from which number on all are there
    complete = int(opened.metadata().configuration.get("nightrank.runs_complete_from", 1))
    numbers = sorted(row["sequence"] for row in runs if row["sequence"] >= complete)
    wrong = []
    if numbers != list(range(complete, last + 1)) or last < seen:
        wrong.append(f"runs are numbered {numbers[-5:]}, complete from {complete}, {seen} before")
    night = visible(runs)
    if night is None:
        return last, [*wrong, "no night is visible"]
    table = DeltaTable(root / "recommendations").to_pyarrow_dataset()
    rows = [row for row in table.to_table().to_pylist() if row["run_date"] == night]
    found = list(faults_of(rows))
    if nights and fingerprint(rows) not in nights:
        found.append(f"its {len(rows)} rows are those of no undisturbed run")
    return last, [*wrong, *(f"night {night}: {one}" for one in found)]


def fingerprint(rows: list[dict[str, Any]]) -> str:
    """Return the hash of a night's rows, in whatever order they stand."""
    return sha256(repr(sorted(map(repr, rows))).encode()).hexdigest()


def visible(runs: list[dict[str, Any]]) -> Any:
    """Return the visible night as the documents define it, by replaying the events in order."""
    shown: set[Any] = set()
    for row in sorted(runs, key=lambda row: row["sequence"]):
        if row["status"] != "succeeded" or row["step"] not in ("publish", "rollback"):
            continue
        if row["step"] == "rollback":
            shown = {night for night in shown if night <= row["run_date"]}
        shown.add(row["run_date"])
    return max(shown, default=None)


def faults_of(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with the rows of a visible night."""
    if not rows:
        yield "silently empty"
        return
    keys = {(row["user_id"], row["rank"]) for row in rows}
    if len(keys) != len(rows):
        yield f"{len(rows) - len(keys)} rows stand there twice"
    ranks: dict[str, list[int]] = {}
    for row in rows:
        ranks.setdefault(row["user_id"], []).append(row["rank"])
    if any(sorted(some) != list(range(1, len(some) + 1)) for some in ranks.values()):
        yield "a list has a hole"
    if len({row["model_version"] for row in rows}) > 1:
        yield "rows of several model versions are mixed"
    if rows[0]["reason"] == "chaos":
        if len({row["score"] for row in rows}) > 1:
            yield "rows of several stagings are mixed"
        if len(ranks) * len(next(iter(ranks.values()))) != len(rows):
            yield "a list is shorter than the others"
