"""Pooling in the encoder's ONNX graph: the states of a text's tokens become one vector.

- The pooling is the one that the encoder was trained with: mean, first token ("cls") or maximum.
- Padding is left out, and the vector is the graph's only output.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from models.network.sentence_config import SentenceConfig

VECTOR = "text_vector"
_CONSTANTS: dict[str, NDArray[Any]] = {
    "pooling.last_axis": np.array([-1], dtype=np.int64),
    "pooling.tokens": np.array([1], dtype=np.int64),
    "pooling.least": np.array(1e-12, dtype=np.float32),
    "pooling.first": np.array(0, dtype=np.int64),
    "pooling.one": np.array(1, dtype=np.float32),
    "pooling.excluded": np.array(-np.inf, dtype=np.float32),
}


def append_pooling(path: Path, width: int, sentences: SentenceConfig) -> None:
    """End the graph in `path` with the vector [b, w] of each text."""
    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    nodes = _nodes(graph.output[0].name, sentences)
    used = {name for node in nodes for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(values, name) for name, values in _CONSTANTS.items() if name in used
    )
    graph.node.extend(nodes)
    del graph.output[:]
    shape: list[str | int | None] = ["batch_size", width]
    graph.output.append(helper.make_tensor_value_info(VECTOR, onnx.TensorProto.FLOAT, shape))
    path.write_bytes(model.SerializeToString(deterministic=True))


def _nodes(hidden: str, sentences: SentenceConfig) -> list[onnx.NodeProto]:
    pooled = "pooling.pooled" if sentences.normalised else VECTOR
    if sentences.pooling == "cls":
        nodes = [_node("Gather", [hidden, "pooling.first"], pooled, axis=1)]
    elif sentences.pooling == "max":
        nodes = _maximum(hidden, pooled)
    else:
        nodes = _mean(hidden, pooled, sentences.normalised)
    return nodes + (_unit(pooled) if sentences.normalised else [])


def _mean(hidden: str, pooled: str, normalised: bool) -> list[onnx.NodeProto]:
    total = pooled if normalised else "pooling.sum"
    nodes = [
        *_weights(),
        _node("Mul", [hidden, "pooling.weights"], "pooling.masked"),
        _node("ReduceSum", ["pooling.masked", "pooling.tokens"], total, keepdims=0),
    ]
    if normalised:  # the sum over tokens has the direction of their mean
        return nodes
    return [
        *nodes,
        _node("ReduceSum", ["pooling.weights", "pooling.tokens"], "pooling.count", keepdims=0),
        _node("Max", ["pooling.count", "pooling.one"], "pooling.tokens_there"),
        _node("Div", ["pooling.sum", "pooling.tokens_there"], pooled),
    ]


def _maximum(hidden: str, pooled: str) -> list[onnx.NodeProto]:
    return [
        *_weights(),
        _node("Cast", ["pooling.weights"], "pooling.inside", to=onnx.TensorProto.BOOL),
        _node("Where", ["pooling.inside", hidden, "pooling.excluded"], "pooling.masked"),
        _node("ReduceMax", ["pooling.masked", "pooling.tokens"], pooled, keepdims=0),
    ]


def _weights() -> list[onnx.NodeProto]:
    """Return the nodes of a weight for each token [b, l, 1]: 1, or 0 for padding."""
    return [
        _node("Cast", ["attention_mask"], "pooling.weights_flat", to=onnx.TensorProto.FLOAT),
        _node("Unsqueeze", ["pooling.weights_flat", "pooling.last_axis"], "pooling.weights"),
    ]


def _unit(pooled: str) -> list[onnx.NodeProto]:
    return [
        _node("ReduceL2", [pooled, "pooling.last_axis"], "pooling.raw_length", keepdims=1),
        _node("Max", ["pooling.raw_length", "pooling.least"], "pooling.length"),
        _node("Div", [pooled, "pooling.length"], VECTOR),
    ]


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], **attributes)
