"""The cores that a process may use: the machine's, its affinity's, its container's."""

import io
import os
import subprocess
import sys

import pytest
from joblib.externals.loky.backend import context

from models.processors import usable_cores

V2, V1 = "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_{}_us"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 6),
        ({V2: "max 100000"}, 6),
        ({V2: "200000 100000"}, 2),
        ({V2: "150000 100000"}, 2),
        ({V2: "50000 100000"}, 1),
        ({V2: "1600000 100000"}, 6),
        ({V1.format("quota"): "300000", V1.format("period"): "100000"}, 3),
        ({V1.format("quota"): "-1", V1.format("period"): "100000"}, 6),
    ],
)
def test_a_containers_quota_counts(
    files: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    with monkeypatch.context() as patch:
        patch.setattr(os.path, "exists", files.__contains__)
        patch.setattr(context, "open", lambda name: io.StringIO(files[name]), raising=False)
        assert usable_cores() == expected


def test_affinity_counts() -> None:
    core = min(os.sched_getaffinity(0))
    script = (
        f"import os; os.sched_setaffinity(0, [{core}]); "
        "from models.processors import usable_cores; print(usable_cores())"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert int(found.stdout) == 1
