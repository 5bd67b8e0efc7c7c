"""An independent reader: it knows Delta and what was promised, and none of nightrank's code.

It reads again and again which night is visible and that night's rows, and notes whatever it should
never see: a mixture of stagings, a hole, a repeat, an empty night, a record of runs that shrinks.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deltalake import DeltaTable


def watch(root: str, out: str, stop: str) -> None:
    """Read until the file `stop` is there; write the counts and what was wrong to `out`."""
    reads, wrong, seen = 0, [], 0
    while not Path(stop).exists():
        try:
            known, found = look(Path(root), seen)
        except Exception as error:  # noqa: BLE001  (a reader that can't read is what is looked for)
            wrong.append(f"reading failed: {type(error).__name__}: {str(error)[:300]}")
        else:
            seen = max(seen, known)
            wrong += found
        reads += 1
        time.sleep(0.02)
    Path(out).write_text(json.dumps({"reads": reads, "wrong": wrong[:20]}), "utf-8")


def look(root: Path, seen: int) -> tuple[int, list[str]]:
    """Return how many runs there are, and what is wrong now; `seen` runs were there before."""
    runs = DeltaTable(root / "runs").to_pyarrow_table().to_pylist()
    numbers = sorted(row["sequence"] for row in runs)
    wrong = []
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < seen:
        wrong.append(f"runs are numbered {numbers[-5:]}, {len(numbers)} of them, {seen} before")
    night = visible(runs)
    if night is None:
        return len(numbers), [*wrong, "no night is visible"]
    table = DeltaTable(root / "recommendations").to_pyarrow_dataset()
    rows = [row for row in table.to_table().to_pylist() if row["run_date"] == night]
    return len(numbers), [*wrong, *(f"night {night}: {one}" for one in faults_of(rows))]


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
