"""Peak memory of a process and its children, as Linux counts it.

- Linux records the peak of this process itself (`ru_maxrss`).
- The resident memory of this process and of those that it started (Spark's JVM and Python workers)
  is added up five times a second. Pages that several of them share are counted for each.

Trade-off: a peak of the sum between two looks is missed. Linux records the peak of each single
worker (`VmHWM`), so that one is exact.
"""

import contextlib
import re
import resource
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_LOOK_SECONDS, _MB = 0.2, 1 << 20


class PeakMemory:
    """Looks at this process and its children while the `with` lasts."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._sum = self._worker = 0  # bytes
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
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return max(own, self._sum) / _MB

    def worker_mb(self) -> float:
        """Return the greatest peak of a single Python child, in MB; 0 where there is none."""
        return self._worker / _MB

    def _look(self) -> None:
        here = psutil.Process()
        while not self._over.wait(_LOOK_SECONDS):
            children = here.children(recursive=True)
            if children:
                resident = [_resident(process) for process in (here, *children)]
                self._sum = max(self._sum, sum(resident))
                peaks = [_own_peak(child) for child in children if _is_python(child)]
                self._worker = max(self._worker, *peaks, 0)


def _resident(process: psutil.Process) -> int:
    """Return the resident bytes of a process, 0 where it has ended."""
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _is_python(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return str(process.name()).startswith("python")
    return False


def _own_peak(process: psutil.Process) -> int:
    """Return the greatest resident bytes that a process ever had, 0 where it has ended."""
    # psutil doesn't have this one
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, flags=re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0
