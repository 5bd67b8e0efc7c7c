"""The ranker's ONNX graph, which scores on a GPU: product, filters and top k in one.

- `Gemm` multiplies users with items and adds the items' bias: 0, or -infinity for an item that
  isn't to be ranked.
- `ScatterND` writes -infinity where a user must not get an item; `TopK` keeps the best.

Trade-off: k, users and items are inputs of one graph for all, so no size is fixed for speed.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET, _IR_VERSION = 18, 9


def build_ranker(path: Path) -> None:
    """Write the ranker's graph to `path`."""
    path.write_bytes(ranker_model())


def ranker_model() -> bytes:
    """Return the ranker's graph as an ONNX model; the same bytes every time.

    Inputs: user_factors [b, d], item_factors [n, d], item_bias [n], excluded [m, 2] int64 as
    (row, column), k int64 [1]. Outputs: scores [b, k] and rows [b, k] int64, best first, equal
    scores by column.
    """
    real, whole = TensorProto.FLOAT, TensorProto.INT64
    nodes = [
        helper.make_node(
            "Gemm", ["user_factors", "item_factors", "item_bias"], ["products"], transB=1
        ),
        helper.make_node("Shape", ["excluded"], ["excluded_count"], end=1),
        helper.make_node("Expand", ["minus_infinity", "excluded_count"], ["nothing"]),
        helper.make_node("ScatterND", ["products", "excluded", "nothing"], ["allowed"]),
        helper.make_node("TopK", ["allowed", "k"], ["scores", "rows"], largest=1, sorted=1),
    ]
    graph = helper.make_graph(
        nodes,
        "ranker",
        inputs=[
            helper.make_tensor_value_info("user_factors", real, ["users", "dim"]),
            helper.make_tensor_value_info("item_factors", real, ["items", "dim"]),
            helper.make_tensor_value_info("item_bias", real, ["items"]),
            helper.make_tensor_value_info("excluded", whole, ["pairs", 2]),
            helper.make_tensor_value_info("k", whole, [1]),
        ],
        outputs=[
            helper.make_tensor_value_info("scores", real, ["users", "best"]),
            helper.make_tensor_value_info("rows", whole, ["users", "best"]),
        ],
        initializer=[numpy_helper.from_array(np.array(-np.inf, np.float32), "minus_infinity")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
