"""ONNX Runtime sessions, on the CPU or on a GPU."""

import logging
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import onnxruntime as ort

from models.errors import InputError

LOGGER = logging.getLogger(__name__)


def open_session(model: Path | bytes, threads: int, device: str = "cpu") -> ort.InferenceSession:
    """Open an ONNX file, or a model's bytes, on `device` ("cpu" or "cuda") with `threads` threads.

    Raises InputError where CUDA was asked for and ONNX Runtime fell back to the CPU, which it
    does without a word (microsoft/onnxruntime#23372).
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        load_cuda_libraries()
        providers.insert(0, "CUDAExecutionProvider")
    source = str(model) if isinstance(model, Path) else model
    opened = ort.InferenceSession(source, options, providers=providers)
    if device == "cuda" and "CUDAExecutionProvider" not in opened.get_providers():
        raise InputError("setting `device`: cuda was asked for, but ONNX Runtime can't use it here")
    return opened


@cache
def load_cuda_libraries() -> None:
    """Load cuBLAS, cuDNN, cuRAND and the other libraries of CUDA, once in a process.

    They lie in NVIDIA's Python packages, where the system's linker doesn't look for them; where
    those are absent, the system's own are taken. What can't be loaded is logged as a warning.
    """
    said = StringIO()
    with redirect_stdout(said):  # ONNX Runtime prints what it didn't find
        ort.preload_dlls()
    for line in said.getvalue().splitlines():
        LOGGER.warning("CUDA: %s", line)
