"""The contenders of `make bench` that run without Spark, all on the same vectors.

- `product` is the bare fp32 matrix product: a lower bound on time for anything that computes every
  score in 32 bits. The other contenders return the k best items of every user.
- Each builder takes a `Race` and returns a function that runs the whole comparison once.

Trade-off: `implicit` and `faiss` are not dependencies of nightrank. If one is absent, its builder
raises ImportError and the report says so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from models.data.arrays import Factors, Rows
from models.serving.ranker import Ranker
from models.serving.ranker_graph import build_ranker

DIM, K, SEEN = 128, 100, 20
_BATCH, _BLOCK = 512, 32_768
Run = Callable[[], None]


@dataclass(frozen=True)
class Race:
    """How many users and items, and how many threads each contender gets."""

    users: int
    items: int
    threads: int

    def vectors(self) -> tuple[Factors, Factors]:
        """Return the factors [users, d] and [items, d], the same for every contender."""
        random = np.random.default_rng(0)
        users = random.standard_normal((self.users, DIM), dtype=np.float32)
        return users, random.standard_normal((self.items, DIM), dtype=np.float32)

    def seen(self) -> Rows:
        """Return the items [users, SEEN] that each user must not get."""
        return np.random.default_rng(1).integers(0, self.items, (self.users, SEEN))


def product(race: Race) -> Run:
    """Multiply batch after batch into one buffer."""
    users, items = race.vectors()
    target = np.empty((_BATCH, race.items), dtype=np.float32)

    def run() -> None:
        for batch in _batches(users):
            np.matmul(batch, items.T, out=target[: len(batch)])

    return run


def kernel(race: Race) -> Run:
    """Rank with nightrank's own ranker, without the items seen."""
    return _ranked(race, list(race.seen()))


def kernel_without_filters(race: Race) -> Run:
    """Rank with nightrank's own ranker, everything allowed: what the filters cost."""
    return _ranked(race, [np.zeros(0, dtype=np.int64)] * race.users)


def torch(race: Race) -> Run:
    """PyTorch's product and `topk`."""
    import torch as library

    library.set_num_threads(race.threads)
    users, items = (library.from_numpy(side) for side in race.vectors())

    def run() -> None:
        for start in range(0, race.users, _BATCH):
            library.topk(users[start : start + _BATCH] @ items.T, K, dim=1)

    return run


def faiss(race: Race) -> Run:
    """An exact index of Faiss for inner products."""
    import faiss as library

    library.omp_set_num_threads(race.threads)
    users, items = race.vectors()
    index = library.IndexFlatIP(DIM)
    index.add(items)

    def run() -> None:
        index.search(users, K)

    return run


def implicit(race: Race) -> Run:
    """Implicit's product and top k."""
    from implicit.cpu.topk import topk

    users, items = race.vectors()

    def run() -> None:
        topk(items, users, K, num_threads=race.threads)

    return run


def _ranked(race: Race, excluded: list[Rows]) -> Run:
    users, items = race.vectors()
    everything = np.ones(race.items, dtype=np.bool_)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ranker.onnx"
        build_ranker(path)
        ranker = Ranker(path, items, everything, _BATCH, _BLOCK, race.threads)

    def run() -> None:
        ranker.top_k(users, excluded, K)

    return run


def _batches(users: Factors) -> Iterator[Factors]:
    return (users[start : start + _BATCH] for start in range(0, len(users), _BATCH))
