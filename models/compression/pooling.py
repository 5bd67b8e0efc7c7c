"""Pooling in the encoder's ONNX graph: the states of a text's tokens become one unit vector.

Padding is left out of the mean, and the vector is the graph's only output.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

VECTOR = "text_vector"


def append_pooling(path: Path, width: int) -> None:
    """End the graph in `path` with the vector [b, w] of each text."""
    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    hidden = graph.output[0].name
    graph.initializer.extend(
        numpy_helper.from_array(values, name)
        for name, values in (
            ("pooling.last_axis", np.array([-1], dtype=np.int64)),
            ("pooling.tokens", np.array([1], dtype=np.int64)),
            ("pooling.least", np.array(1e-12, dtype=np.float32)),
        )
    )
    graph.node.extend(_nodes(hidden))
    del graph.output[:]
    shape: list[str | int | None] = ["batch_size", width]
    graph.output.append(helper.make_tensor_value_info(VECTOR, onnx.TensorProto.FLOAT, shape))
    path.write_bytes(model.SerializeToString(deterministic=True))


def _nodes(hidden: str) -> list[onnx.NodeProto]:
    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], **attributes)

    return [
        node("Cast", ["attention_mask"], "pooling.weights_flat", to=onnx.TensorProto.FLOAT),
        node("Unsqueeze", ["pooling.weights_flat", "pooling.last_axis"], "pooling.weights"),
        node("Mul", [hidden, "pooling.weights"], "pooling.masked"),
        node("ReduceSum", ["pooling.masked", "pooling.tokens"], "pooling.sum", keepdims=0),
        # the sum over tokens has the direction of their mean
        node("ReduceL2", ["pooling.sum", "pooling.last_axis"], "pooling.raw_length", keepdims=1),
        node("Max", ["pooling.raw_length", "pooling.least"], "pooling.length"),
        node("Div", ["pooling.sum", "pooling.length"], VECTOR),
    ]
