"""How much memory this process may still take."""

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
_FILES = (("memory.max", "memory.current"),
          ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))  # fmt: skip


def free_memory(cgroup: Path = CGROUP) -> int:
    """Return the bytes that the machine has free, or less where its container leaves less.

    Containers are asked by `cgroup`, of version 1 or 2; one without a limit says nothing.
    """
    free = int(psutil.virtual_memory().available)
    for limit, used in _FILES:
        try:
            bytes_of_both = [int((cgroup / name).read_text("ascii")) for name in (limit, used)]
        except (OSError, ValueError):  # no such container, or no limit ("max")
            continue
        free = min(free, max(bytes_of_both[0] - bytes_of_both[1], 0))
    return free
