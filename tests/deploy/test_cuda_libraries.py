"""Every library that ONNX Runtime's CUDA provider links to loads here, without a card."""

import subprocess
import sys
from pathlib import Path

import onnxruntime

PROVIDER = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
DRIVER = "libcuda.so.1"  # comes with the graphics card's driver, never with a package

LOAD = """
import ctypes, logging, struct, sys
from models.serving.runtime import load_cuda_libraries

logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
load_cuda_libraries()
assert "torch" not in sys.modules, "torch would have loaded them"
for name in sys.argv[1:]:
    ctypes.CDLL(name)
# opened by name, when the first convolution runs
ctypes.CDLL("libcudnn.so.9")
print("loaded", len(sys.argv) - 1)
"""


def test_all_libraries_of_the_cuda_provider_load() -> None:
    needed = linked_libraries(PROVIDER)
    assert {DRIVER, "libcublas.so.13", "libcurand.so.10", "libcudart.so.13"} <= set(needed)
    needed.remove(DRIVER)
    found = subprocess.run(
        [sys.executable, "-c", LOAD, *needed], check=False, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"loaded {len(needed)}\n"


def linked_libraries(path: Path) -> list[str]:
    """Return the names of the libraries that `path` links to, the kernel's own left out."""
    found = subprocess.run(["ldd", str(path)], check=True, capture_output=True, text=True)
    return [line.split()[0] for line in found.stdout.splitlines() if "=>" in line]
