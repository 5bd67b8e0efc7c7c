"""The tail of the encoder's graph: tokens become one vector, mapped onto the full model's space.

- The mean over a text's tokens is brought to unit length in the graph, so that padding is never
  counted and nothing but the vector leaves the session.
- A linear map, solved in closed form on the corpus, takes the shipped vectors to the full model's:
  it undoes what pruning and quantisation shift systematically, and costs one small product. How
  far it may leave the identity is chosen on held-out texts, so that a small corpus is not learned
  by heart: the parity gate has to see what pruning broke.

Trade-off: the map keeps full precision, 0.6 MB at 384 dimensions.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.dataset import Factors

VECTOR = "text_vector"
ALIGNMENT_WEIGHTS, ALIGNMENT_BIAS = "alignment.weights", "alignment.bias"
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 1e6)


def fit_alignment(vectors: Factors, targets: Factors) -> tuple[Factors, Factors]:
    """Return weights [w, w] and bias [w] that take `vectors` [t, w] to `targets` [t, w].

    Ridge regression towards the identity, the ridge in units of the vectors' mean variance.
    """
    fit, held = slice(0, None, 2), slice(1, None, 2)

    def missed(ridge: float) -> float:
        weights, bias = _ridge(vectors[fit], targets[fit], ridge)
        return float(np.square(vectors[held] @ weights + bias - targets[held]).sum())

    return _ridge(vectors, targets, min(RIDGES[::-1], key=missed))


def _ridge(vectors: Factors, targets: Factors, ridge: float) -> tuple[Factors, Factors]:
    mean, wanted = vectors.mean(axis=0), targets.mean(axis=0)
    centred = (vectors - mean).astype(np.float64)
    gram = centred.T @ centred
    moved = centred.T @ (targets - wanted - centred)
    gram[np.diag_indices_from(gram)] += ridge * max(float(np.trace(gram)) / len(gram), 1e-12)
    weights = np.eye(len(gram)) + np.linalg.solve(gram, moved)
    return weights.astype(np.float32), (wanted - mean @ weights).astype(np.float32)


def append_pooling(path: Path, width: int) -> None:
    """End the graph in `path` with the vector [b, w] of each text; its map changes nothing yet."""
    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    hidden = graph.output[0].name
    graph.initializer.extend(
        numpy_helper.from_array(values, name)
        for name, values in (
            ("pooling.last_axis", np.array([-1], dtype=np.int64)),
            ("pooling.tokens", np.array([1], dtype=np.int64)),
            ("pooling.least", np.array(1e-12, dtype=np.float32)),
            (ALIGNMENT_WEIGHTS, np.eye(width, dtype=np.float32)),
            (ALIGNMENT_BIAS, np.zeros(width, dtype=np.float32)),
        )
    )
    graph.node.extend(_nodes(hidden))
    del graph.output[:]
    shape: list[str | int | None] = ["batch_size", width]
    graph.output.append(helper.make_tensor_value_info(VECTOR, onnx.TensorProto.FLOAT, shape))
    path.write_bytes(model.SerializeToString(deterministic=True))


def set_alignment(path: Path, weights: Factors, bias: Factors) -> None:
    """Put a map into a graph that ends in `append_pooling`'s nodes."""
    model = onnx.load(str(path), load_external_data=False)
    values = {ALIGNMENT_WEIGHTS: weights, ALIGNMENT_BIAS: bias}
    for tensor in model.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
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
        node("Div", ["pooling.sum", "pooling.length"], "pooling.unit"),
        node("MatMul", ["pooling.unit", ALIGNMENT_WEIGHTS], "alignment.mapped"),
        node("Add", ["alignment.mapped", ALIGNMENT_BIAS], VECTOR),
    ]
