"""A model version that is made in a second: real towers, graphs and tokenizer, random weights.

Text vectors are word embeddings; enough for every step that scores.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file as save_arrays
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from version_store import give_store

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.versions.registry import CHAMPION, Registry
from models.data.attributes import AttributeColumns
from models.factors.blocks import Block
from models.factors.popularity import POPULARITY_SIZE, Popularity
from models.factors.start import Start
from models.serving.bundle import (
    ATTRIBUTE_FACTORS,
    ATTRIBUTES,
    ENCODER,
    HISTORY_FACTORS,
    INTEREST,
    ITEM_FACTORS,
    RANKER,
    TOKENIZER,
    Bundle,
    write_manifest,
)
from models.serving.manifest import EncoderFacts, Manifest, TrainedWith
from models.serving.ranker_graph import build_ranker

WIDTH, HISTORY, PROFILE = 6, 8, 2
RANKING = HISTORY + PROFILE + POPULARITY_SIZE
BLOCKS = (
    Block(0.2, 5.0, 1.0, 1.0, name="long", size=5, below=0.3),
    Block(0.0, 2.0, 0.5, 0.1, name="short", size=3),
)
WORDS = ["[UNK]", "[CLS]", "of", "the", "drama", "comedy", "action", "doctor", "student", "writer"]


def champion(
    settings: Settings,
    item_ids: list[str],
    seed: int = 0,
    trained_until: float | None = None,
) -> Bundle:
    """Make a version that knows `item_ids`, and the champion of the warehouse."""
    # here: torch takes seconds, which tests that only name a version need not wait for
    from models.compression.onnx_export import export_towers
    from models.network.towers import TwoTowers

    give_store(settings)
    version = f"toy-{seed}"
    folder = Context.of(settings).registry.folder_of(version)
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    towers = TwoTowers(WIDTH, start(len(item_ids), random))
    export_towers(towers, WIDTH, folder)
    np.save(folder / ITEM_FACTORS, towers.own_ranking.numpy())
    np.save(folder / HISTORY_FACTORS, towers.own_history.numpy())
    columns = AttributeColumns({"genres": {"Comedy": 1.0, "Drama": 1.0}}, {}, {"genres": 1.0})
    (folder / ATTRIBUTES).write_text(json.dumps(columns.to_json()), "utf-8")
    np.save(folder / ATTRIBUTE_FACTORS, normal(random, columns.width, RANKING + HISTORY))
    interest = {
        "coefficients": np.array([0.1, 0.01, 1.0, 1.0]),
        "levels": normal(random, len(item_ids)),
        "weights": normal(random, WIDTH, 1),
        "bias": normal(random, 1),
        "attributes": normal(random, columns.width, 1),
    }
    save_arrays(interest, folder / INTEREST)
    _encoder(folder / ENCODER, random)
    _tokenizer().save(str(folder / TOKENIZER))
    build_ranker(folder / RANKER)
    described = replace(manifest(version, item_ids), trained_until=trained_until)
    bundle = write_manifest(folder, described)
    Context.of(settings).registry.register(bundle)
    Context.of(settings).registry.set_alias(CHAMPION, version)
    return bundle


def nominal_champion(settings: Settings) -> Registry:
    """Make a champion `toy` that is no more than a file and its manifest; return its registry."""
    give_store(settings)
    registry = Context.of(settings).registry
    folder = registry.folder_of("toy")
    folder.mkdir()
    (folder / "weights").write_bytes(b"weights")
    registry.register(write_manifest(folder, manifest("toy", ["a"])))
    registry.set_alias(CHAMPION, "toy")
    return registry


def manifest(version: str, item_ids: list[str]) -> Manifest:
    """Return what such a version says of itself."""
    return Manifest(
        version=version,
        split="warm",
        settings=TrainedWith({"positive_threshold": 4.0, "factors": 16}),
        tables={},
        item_ids=item_ids,
        rated_item_ids=item_ids,
        blocks=BLOCKS,
        popularity=Popularity(),
        encoder=EncoderFacts(max_tokens=16, text_dim=WIDTH),
        history_length=50,
        metrics={},
        learning_curve=[],
        libraries={},
    )


def start(n_items: int, random: np.random.Generator) -> Start:
    """Return random factors of two blocks, a profile and popularity."""
    return Start(
        blocks=BLOCKS,
        popularity=Popularity(),
        ranking=normal(random, n_items, RANKING),
        history=normal(random, n_items, HISTORY),
        known=np.ones(n_items, dtype=np.bool_),
        profile_weights=normal(random, WIDTH, PROFILE),
        profile_mean=normal(random, WIDTH),
    )


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Return float32 numbers from the standard normal distribution."""
    return random.standard_normal(shape).astype(np.float32)


def _tokenizer() -> Tokenizer:
    vocabulary = {word: row for row, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=WORDS[0]))
    tokenizer.pre_tokenizer = Whitespace()
    # as BERT's: an empty profile still has a token
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    return tokenizer


def _encoder(path: Path, random: np.random.Generator) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["words", "input_ids"], ["hidden"]),
            helper.make_node("ReduceMean", ["hidden", "tokens"], ["vector"], keepdims=0),
        ],
        "encoder",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "length"])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", WIDTH])],
        [
            numpy_helper.from_array(normal(random, len(WORDS), WIDTH), "words"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "tokens"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
