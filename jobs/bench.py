"""make bench: the ranker beside its peers, same vectors, same k, same threads, one run.

- `product` is the bare fp32 matrix product, which nobody can beat who computes every score.
- `kernel` is nightrank's ranker: product, exclusions and top k in one ONNX graph, by blocks.
- `torch` is the product and `topk` of PyTorch, without exclusions.
- Each runs in a process of its own, so that peak memory is its own; the best of three counts.

Trade-off: small sizes, so that the comparison ends within minutes on a laptop.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from models.dataset import Factors
from models.topk import Ranker, build_ranker

SIZES = ((2_000, 2_000), (10_000, 10_000), (20_000, 20_000))
DIM, K, BATCH, BLOCK, REPEATS = 128, 100, 512, 8192, 3
Row = dict[str, str | int | float]


def main(reports: Path) -> None:
    """Measure every contender at every size; write `bench.json` and `bench.md` to `reports`."""
    threads = len(os.sched_getaffinity(0))
    rows: list[Row] = []
    for users, items in SIZES:
        product = 0.0
        for name in CONTENDERS:
            seconds, peak_mb = _apart(name, users, items, threads)
            product = seconds if name == "product" else product
            rows.append(
                {
                    "name": name,
                    "users": users,
                    "items": items,
                    "dim": DIM,
                    "k": K,
                    "threads": threads,
                    "seconds": round(seconds, 4),
                    "ratio_to_product": round(seconds / product, 3),
                    "pairs_per_second": round(users * items / seconds),
                    "peak_mb": round(peak_mb),
                }
            )
            print(f"bench: {rows[-1]}", flush=True)
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "bench.json").write_text(json.dumps(rows, indent=2), "utf-8")
    (reports / "bench.md").write_text(page(rows), "utf-8")


def page(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[name]) for name in head] for row in rows)]
    return (
        "# Speed, side by side\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    )


def _apart(name: str, users: int, items: int, threads: int) -> tuple[float, float]:
    context = get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sending, name, users, items, threads))
    process.start()
    sending.close()
    seconds, peak_mb = receiving.recv()
    process.join()
    return float(seconds), float(peak_mb)


def _measure(sending, name: str, users: int, items: int, threads: int) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    random = np.random.default_rng(0)
    ours, theirs = (random.standard_normal((n, DIM), dtype=np.float32) for n in (users, items))
    run = CONTENDERS[name](ours, theirs, threads)
    run()
    times = []
    for _ in range(REPEATS):
        began = perf_counter()
        run()
        times.append(perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sending.send((min(times), peak))


def _batches(users: Factors) -> list[Factors]:
    return [users[start : start + BATCH] for start in range(0, len(users), BATCH)]


def _product(users: Factors, items: Factors, threads: int) -> Callable[[], None]:  # noqa: ARG001
    target = np.empty((BATCH, len(items)), dtype=np.float32)

    def run() -> None:
        for batch in _batches(users):
            np.matmul(batch, items.T, out=target[: len(batch)])

    return run


def _kernel(users: Factors, items: Factors, threads: int) -> Callable[[], None]:
    with TemporaryDirectory() as folder:
        build_ranker(Path(folder) / "ranker.onnx")
        everything = np.ones(len(items), dtype=np.bool_)
        ranker = Ranker(
            Path(folder) / "ranker.onnx", items, everything, BATCH, BLOCK, threads, "cpu"
        )
    seen = [np.arange(20, dtype=np.int64)] * BATCH

    def run() -> None:
        for batch in _batches(users):
            ranker.top_k(batch, seen[: len(batch)], K)

    return run


def _torch(users: Factors, items: Factors, threads: int) -> Callable[[], None]:
    import torch

    torch.set_num_threads(threads)
    catalogue = torch.from_numpy(items).T

    def run() -> None:
        for batch in _batches(users):
            torch.topk(torch.from_numpy(batch) @ catalogue, K, dim=1)

    return run


CONTENDERS: dict[str, Callable[[Factors, Factors, int], Callable[[], None]]] = {
    "product": _product,
    "kernel": _kernel,
    "torch": _torch,
}

if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "reports"))
