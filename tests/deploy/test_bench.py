"""The comparison: a row for each contender, the absent ones named, memory of child processes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.bench import speed
from jobs.bench.memory import PeakMemory


@pytest.mark.training
def test_each_contender_has_a_row_and_the_product_is_one(tmp_path: Path) -> None:
    only = ["--only", "kernel", "kernel_without_filters", "torch"]
    speed.main([str(tmp_path), "--sizes", "300x200", *only, "--rounds", "2", "--threads", "1"])
    rows = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    assert [row["name"] for row in rows] == ["product", *only[1:]]
    assert rows[0]["ratio_to_product"] == 1
    for row in rows:
        assert (row["users"], row["items"], row["dim"], row["k"], row["threads"]) == (
            300, 200, 128, 100, 1,
        )  # fmt: skip
        assert row["pairs_per_second"] == pytest.approx(60_000 / row["seconds"], rel=0.6)
        assert row["peak_mb"] > 30
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert "| kernel | 300 | 200 |" in (tmp_path / "bench.md").read_text("utf-8")


def test_the_page_names_who_is_absent() -> None:
    row: speed.Row = {"name": "product", "seconds": 1.0}
    page = speed.page([row], ["faiss is absent: No module named 'faiss'"])
    assert page.endswith("- faiss is absent: No module named 'faiss'\n")


def test_a_size_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        speed.main(["--sizes", "many"])
    assert ended.value.code == 2
    assert "many" in capsys.readouterr().err


def test_the_peak_of_a_python_child_is_seen() -> None:
    hold = "import time; x = bytearray(200 << 20); time.sleep(30)"
    with PeakMemory() as memory:
        child = subprocess.Popen([sys.executable, "-c", hold])
        until = time.monotonic() + 25
        while memory.worker_mb() < 200 and time.monotonic() < until:
            time.sleep(0.1)
        child.kill()
        child.wait()
    assert 200 < memory.worker_mb() < memory.peak_mb()
