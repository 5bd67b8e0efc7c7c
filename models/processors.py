"""How many cores this process may use."""

from joblib import cpu_count


def usable_cores() -> int:
    """Return the number of cores that this process may keep busy, at least 1.

    The least of the machine's cores, the process's affinity (`taskset`, Slurm), the CPU quota of
    its container (cgroup v1 or v2, rounded up) and `LOKY_MAX_CPU_COUNT` where that is set.
    """
    return int(cpu_count())
