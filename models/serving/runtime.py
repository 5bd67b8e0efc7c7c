"""ONNX Runtime sessions, on the CPU or on a GPU."""

from pathlib import Path

import onnxruntime as ort

from models.errors import InputError


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
        providers.insert(0, "CUDAExecutionProvider")
    source = str(model) if isinstance(model, Path) else model
    opened = ort.InferenceSession(source, options, providers=providers)
    if device == "cuda" and "CUDAExecutionProvider" not in opened.get_providers():
        raise InputError("setting `device`: cuda was asked for, but ONNX Runtime can't use it here")
    return opened
