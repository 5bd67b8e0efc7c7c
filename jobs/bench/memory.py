"""Peak memory of a process and its children, as Linux counts it.

- A process without children knows its own peak (`ru_maxrss`).
- Spark's JVM and Python workers are found below it, and their resident memory is added up again
  and again, with pages that several of them map counted for each.

Trade-off: a peak between two looks is missed; a worker's own peak (`VmHWM`) is not.
"""

import contextlib
import os
import resource
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_LOOK_SECONDS = 0.2


class PeakMemory:
    """Looks at this process and its children while the `with` lasts."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._sum_kb = self._worker_kb = 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def peak_mb(self) -> float:
        """Return the greatest sum seen so far, in MB."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return max(own, self._sum_kb) / 1024

    def worker_mb(self) -> float:
        """Return the greatest peak of a single Python child, in MB; 0 where there is none."""
        return self._worker_kb / 1024

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            children = below(os.getpid())
            if children:
                resident = [_status(pid, "VmRSS") for pid in (os.getpid(), *children)]
                self._sum_kb = max(self._sum_kb, sum(resident))
                workers = [pid for pid in children if command_of(pid).startswith("python")]
                peaks = [_status(pid, "VmHWM") for pid in workers]
                self._worker_kb = max(self._worker_kb, *peaks, 0)


def below(pid: int) -> list[int]:
    """Return the processes below `pid`, children's children too."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        children.setdefault(_status(int(folder.name), "PPid"), []).append(int(folder.name))
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])  # grows while it is walked: theirs come too
    return found


def _status(pid: int, key: str) -> int:
    """Return a number of a process's status, 0 where the process has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
    return 0


def command_of(pid: int) -> str:
    """Return the name of a process's program, empty where the process has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text("utf-8")
    return ""
