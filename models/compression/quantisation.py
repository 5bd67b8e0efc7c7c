"""Quantisation of the exported encoder.

- `int8`: dynamic; weights have a scale for each channel, and each input gets a scale of its own.
- `fp16`: for GPUs, where int8 operators fall back to the CPU or run slower than fp16. On the CPU it
  works through conversions, and is smaller but not faster.
- `none`: the exported fp32 graph.

int8 weights use seven of the eight bits: on CPUs without VNNI, the sum of two products of eight
bits overflows 16 bits.

Trade-off: dynamic scales are computed for every text, which static ones would save; but nothing has
to be calibrated, and texts unlike the corpus are not clipped.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import onnx

KINDS = ("int8", "fp16", "none")
FAST_ENOUGH = 0.9  # as a share of the fastest kind's speed


def smallest_of_the_fast(sizes: Mapping[str, int], speeds: Mapping[str, float]) -> str:
    """Return the smallest kind whose speed (texts a second) is nearly that of the fastest."""
    fast = [kind for kind in sizes if speeds[kind] >= FAST_ENOUGH * max(speeds.values())]
    return min(fast, key=lambda kind: sizes[kind])


def quantise(exported: Path, quantisation: str) -> Path:
    """Quantise `model.onnx` in the folder `exported`, and return the path of the result."""
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
