"""A model version that is made in milliseconds: real ONNX graphs and a real tokenizer, no training.

Text vectors are word embeddings, the towers add and average; enough for every step that scores.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from jobs import registry
from jobs.settings import Settings
from models.bundle import (
    ENCODER,
    HISTORY_FACTORS,
    ITEM_FACTORS,
    ITEM_TOWER,
    RANKER,
    TOKENIZER,
    USER_TOWER,
    Bundle,
    write_manifest,
)
from models.topk import build_ranker

WIDTH, DIM = 6, 8
WORDS = ["[UNK]", "a", "of", "the", "drama", "comedy", "action", "doctor", "student", "writer"]
REAL, WHOLE = TensorProto.FLOAT, TensorProto.INT64


def champion(settings: Settings, item_ids: list[str], seed: int = 0) -> Bundle:
    """Make a version that knows `item_ids`, and the champion of the warehouse."""
    version = f"toy-{seed}"
    folder = registry.folder_of(settings, version)
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    _encoder(folder / ENCODER, random)
    _item_tower(folder / ITEM_TOWER, random)
    _user_tower(folder / USER_TOWER, random)
    build_ranker(folder / RANKER)
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / TOKENIZER))
    for name in (ITEM_FACTORS, HISTORY_FACTORS):
        np.save(folder / name, random.standard_normal((len(item_ids), DIM)).astype(np.float32))
    bundle = write_manifest(
        folder,
        {
            "version": version,
            "item_ids": item_ids,
            "max_tokens": 16,
            "text_dim": WIDTH,
            "history_length": 50,
            "settings": {"positive_threshold": 4.0},
        },
    )
    registry.register(settings, bundle)
    registry.set_alias(settings, registry.CHAMPION, version)
    return bundle


def _encoder(path: Path, random: np.random.Generator) -> None:
    table = random.standard_normal((len(WORDS), WIDTH)).astype(np.float32)
    _save(
        path,
        [helper.make_node("Gather", ["words", "input_ids"], ["hidden"])],
        {"input_ids": (WHOLE, ["n", "length"])},
        {"hidden": (REAL, ["n", "length", WIDTH])},
        {"words": table},
    )


def _item_tower(path: Path, random: np.random.Generator) -> None:
    project = random.standard_normal((WIDTH, DIM)).astype(np.float32)
    lean = random.standard_normal((WIDTH, 1)).astype(np.float32)
    _save(
        path,
        [
            helper.make_node("MatMul", ["text_vectors", "project"], ["text"]),
            helper.make_node("MatMul", ["text_vectors", "lean"], ["bias"]),
            helper.make_node("Add", ["text", "ranking_part"], ["ranking_sum"]),
            helper.make_node("Concat", ["ranking_sum", "bias"], ["ranking"], axis=1),
            helper.make_node("Add", ["text", "history_part"], ["history"]),
            helper.make_node("Squeeze", ["bias", "one"], ["interest"]),
        ],
        {
            "text_vectors": (REAL, ["n", WIDTH]),
            "ranking_part": (REAL, ["n", DIM]),
            "history_part": (REAL, ["n", DIM]),
        },
        {
            "ranking": (REAL, ["n", DIM + 1]),
            "history": (REAL, ["n", DIM]),
            "interest": (REAL, ["n"]),
        },
        {"project": project, "lean": lean, "one": np.array([1], dtype=np.int64)},
    )


def _user_tower(path: Path, random: np.random.Generator) -> None:
    project = random.standard_normal((WIDTH, DIM)).astype(np.float32)
    _save(
        path,
        [
            helper.make_node("Gather", ["history_factors", "items"], ["liked"]),
            helper.make_node("Mul", ["ages", "decay"], ["ages_scaled"]),
            helper.make_node("Exp", ["ages_scaled"], ["weights"]),
            helper.make_node("Unsqueeze", ["weights", "axis_2"], ["column"]),
            helper.make_node("Mul", ["liked", "column"], ["weighted"]),
            helper.make_node("ReduceSum", ["weighted", "axis_1"], ["taste"], keepdims=0),
            helper.make_node("MatMul", ["profiles", "project"], ["text"]),
            helper.make_node("Add", ["text", "taste"], ["vector"]),
            helper.make_node("ReduceSum", ["ages", "axis_1"], ["total"], keepdims=1),
            helper.make_node("Mul", ["total", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "unit"], ["ones"]),
            helper.make_node("Concat", ["vector", "ones"], ["users"], axis=1),
        ],
        {
            "profiles": (REAL, ["u", WIDTH]),
            "history_factors": (REAL, ["n", DIM]),
            "items": (WHOLE, ["u", "length"]),
            "ages": (REAL, ["u", "length"]),
        },
        {"users": (REAL, ["u", DIM + 1])},
        {
            "project": project,
            "decay": np.array(-0.1, dtype=np.float32),
            "axis_2": np.array([2], dtype=np.int64),
            "axis_1": np.array([1], dtype=np.int64),
            "zero": np.array(0, dtype=np.float32),
            "unit": np.array(1, dtype=np.float32),
        },
    )


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[str | int]]],
    outputs: dict[str, tuple[int, list[str | int]]],
    constants: dict[str, NDArray[np.generic]],
) -> None:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
