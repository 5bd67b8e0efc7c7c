"""`make test-fast`: what its selection leaves out, and that it doesn't even import that."""

import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
FOLDERS = ["tests/compression", "tests/data", "tests/steps"]  # with modules that are left out
COLLECT = """
import sys, pytest
code = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", "-m", *sys.argv[1:]])
heavy = {"airflow", "pyspark", "torch", "transformers"}
print("loaded:", sorted(heavy & set(sys.modules)))
sys.exit(code)
"""


def selection() -> str:
    """Return the marker expression of the Makefile's target."""
    found = re.search(r'^test-fast:.*\n.*-m "(.*?)"', (PROJECT / "Makefile").read_text(), re.M)
    assert found is not None
    return found[1]


def test_the_selection_leaves_out_every_marker_of_the_project() -> None:
    declared = re.findall(r'^  "(\w+): ', (PROJECT / "pyproject.toml").read_text(), re.M)
    assert selection() == " and ".join(f"not {marker}" for marker in declared)


def test_the_selection_imports_no_module_that_it_leaves_out() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, selection(), *FOLDERS],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    *collected, loaded = [line for line in done.stdout.splitlines() if line.startswith(("t", "l"))]
    assert loaded == "loaded: []"
    files = {line.split(":")[0] for line in collected}
    assert {"tests/compression/test_parity.py", "tests/steps/test_settings.py"} <= files
    assert "tests/compression/test_pruning.py" not in files
