"""What the speed of an exported encoder depends on: the device's model and ONNX Runtime.

Trade-off: the number of cores and what else runs are left out, as they slow all kinds of
quantisation alike.
"""

import platform
import re
from importlib.metadata import version
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


def machine_of(device: str) -> dict[str, str]:
    """Return what tells this machine from others for scoring on `device` ("cpu" or "cuda")."""
    model = _card() if device == "cuda" else _processor(_CPU_INFO)
    return {"device": device, "model": model, "onnxruntime": version("onnxruntime-gpu")}


def _processor(cpu_info: Path) -> str:
    text = cpu_info.read_text("utf-8") if cpu_info.exists() else ""
    found = re.search(r"^model name\s*: (.*)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _card() -> str:
    import torch  # here: it takes seconds

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "unknown"
