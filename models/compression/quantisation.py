"""The kinds of numbers that a shipped encoder can have.

- `int8`: dynamic, a scale for each channel of the weights; activations are scaled as they come.
- `fp16`: for GPUs, where quantised operators fall back to the CPU or run slower than halves. It
  loads on the CPU too, through conversions, and gains nothing there but size.
- `none`: the exported fp32 graph.

Seven bits of the eight are used: without VNNI, sums of two products saturate beyond them.

Trade-off: int8 keeps scales for each text, so that nothing has to be calibrated and a text far from
the corpus is not cut off; static scales would save finding them.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import onnx

KINDS = ("int8", "fp16", "none")
NEARLY = 0.9


def smallest_of_the_fast(sizes: Mapping[str, int], speeds: Mapping[str, float]) -> str:
    """Return the smallest kind whose texts a second are at least NEARLY the fastest's."""
    fast = [kind for kind in sizes if speeds[kind] >= NEARLY * max(speeds.values())]
    return min(fast, key=lambda kind: sizes[kind])


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
