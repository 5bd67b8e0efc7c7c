"""One training step shared by several processes, each with a GPU or some CPU threads of its own.

- Each process takes every n-th user of a step and encodes every n-th text of its bucket. The
  vectors of the texts are then exchanged together with their gradients, since every user is ranked
  against all of them.
- Each process multiplies its losses by its share of the examples: PyTorch's
  DistributedDataParallel averages gradients over processes, and the average is then the gradient
  that a single process would have.

Trade-off: every process runs the whole validation, which takes no longer and keeps them in step.
"""

import os
import socket
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException, start_processes

from models.data.arrays import Rows
from models.errors import InputError
from models.processors import usable_cores

_USERS = ("profiles", "items", "ages", "liked", "taken", "user_levels")
_TARGETS, _PAIRS = ("target_users", "target_places"), ("pair_users", "pair_places", "labels",
                                                        "values")  # fmt: skip


def world() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this one, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def gather_rows(own: Tensor, places: Tensor, size: int) -> Tensor:
    """Return the rows [size, w] of all processes; this one has `own` [m, w] at `places` [m]."""
    whole = own.new_zeros(size, own.shape[1]).index_copy(0, places, own)
    if world() == 1:
        return whole
    return cast(Tensor, _Sum.apply(whole))


class _Sum(torch.autograd.Function):
    """The sum over processes, of values and of gradients."""

    @staticmethod
    def forward(_: Any, rows: Tensor) -> Tensor:
        return _summed(rows)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(rows: Tensor) -> Tensor:
    whole = rows.clone()
    dist.all_reduce(whole)
    return whole


def rows_of_process(count: int) -> Rows:
    """Return this process's rows of `count`, every `world()`-th."""
    return np.arange(count)[rank() :: world()]


def batch_of_process(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return this process's users of a batch of `Collator`, and its shares of the losses."""
    users = torch.from_numpy(rows_of_process(len(batch["profiles"])))
    place = torch.full((len(batch["profiles"]),), -1, dtype=torch.int64)
    place[users] = torch.arange(len(users))
    ours = {name: batch[name][users] for name in _USERS}
    for names in (_TARGETS, _PAIRS):
        kept = place[batch[names[0]]] >= 0
        ours |= {name: batch[name][kept] for name in names}
        ours[names[0]] = place[ours[names[0]]]
    asked = [torch.unique(part["target_users"]) for part in (batch, ours)]
    shares = {
        "ranking": _share(*asked),
        "cosine": _share(batch["target_users"], ours["target_users"]),
        "interest": _share(batch["labels"], ours["labels"]),
    }
    return {**batch, **ours, **{f"share_of_{name}": share for name, share in shares.items()}}


def _share(everybody: Tensor, ours: Tensor) -> Tensor:
    return torch.tensor(world() * len(ours) / max(len(everybody), 1))


def run_in_processes(count: int, work: Callable[..., None], *arguments: Any) -> None:
    """Run `work(*arguments)` in `count` processes that find each other.

    Raises InputError of the first process that raised one.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    refusals = context.SimpleQueue()
    try:
        start_processes(
            _process, (count, port, refusals, work, arguments), nprocs=count, start_method="spawn"
        )
    except ProcessRaisedException:
        if refusals.empty():  # else the others failed because one had left
            raise
    if not refusals.empty():
        raise InputError(refusals.get())


def _process(
    number: int,
    count: int,
    port: int,
    refusals: Any,
    work: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(max(1, usable_cores() // count))
    if torch.cuda.is_available():
        torch.cuda.set_device(number)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        work(*arguments)
    except InputError as error:
        refusals.put(str(error))
    finally:
        dist.destroy_process_group()
