"""The numbers of the shipped encoder, chosen for the hardware that scores.

- `int8`: dynamic, a scale for each channel of the weights; activations are scaled as they come.
- `fp16`: for GPUs, where quantised operators fall back to the CPU or run slower than halves. It
  loads on the CPU too, through conversions, and gains nothing there but size.
- `none`: the exported fp32 graph.
- `auto`: fp16 where scoring uses CUDA, else int8; the choice is logged.

Seven bits of the eight are used: without VNNI, sums of two products saturate beyond them.

Trade-off: the choice follows the machine that exports, which has to be like the one that scores.
"""

import logging
from pathlib import Path

import onnx

_log = logging.getLogger("nightrank.export")


def choose_quantisation(wanted: str, device: str) -> str:
    """Return `wanted`, or for "auto" what suits scoring on `device` ("cpu" or "cuda"); log it."""
    chosen = wanted
    if wanted == "auto":
        chosen = "fp16" if device == "cuda" else "int8"
    _log.info("quantisation: %s (setting %s), for scoring on %s", chosen, wanted, device)
    return chosen


def quantise(exported: Path, quantisation: str) -> Path:
    """Return the file with these numbers, made of `model.onnx` in the folder `exported`."""
    if quantisation == "int8":
        return _int8(exported)
    if quantisation == "fp16":
        return _fp16(exported)
    return exported / "model.onnx"


def _int8(exported: Path) -> Path:
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    quantizer = ORTQuantizer.from_pretrained(str(exported), file_name="model.onnx")
    configuration = AutoQuantizationConfig.avx2(
        is_static=False, per_channel=True, reduce_range=True
    )
    # ONNX Runtime's quantiser tells of every tensor on the root logger
    logging.disable(logging.INFO)
    try:
        quantizer.quantize(save_dir=str(exported / "int8"), quantization_config=configuration)
    finally:
        logging.disable(logging.NOTSET)
    return exported / "int8" / "model_quantized.onnx"


def _fp16(exported: Path) -> Path:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(exported / "model.onnx"), keep_io_types=True)
    path = exported / "fp16.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path
