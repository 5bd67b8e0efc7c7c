"""`model.json` as types: what is written reads back, and what is wrong is named."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_version
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from models.factors.blocks import Block
from models.factors.popularity import Popularity
from models.serving.manifest import EncoderFacts, FileFacts, Manifest, TrainedWith

FILE = Path("models/v1/model.json")
# as nightrank 0.1.0 wrote it
OF_0_1_0: dict[str, Any] = {
    "version": "v1-abc",
    "trained_version": "v1",
    "split": "warm",
    "settings": {"positive_threshold": 4.0, "seed": 3, "encoder": "all-MiniLM-L6-v2",
                 "tuning": "lora", "tuned_layers": 2, "tuning_rank": 8, "sharding": False},
    "export_settings": {"keep_layers": 2, "keep_heads": 1.0, "quantisation": "auto"},
    "tables": {"interactions": 2, "items": 1},
    "item_ids": ["1", "ä"],
    "rated_item_ids": ["1"],
    "blocks": [{"name": "liked next", "size": 3, "floor": 0.0, "half_life": 2.0, "gain": 0.7,
                "away": 0.14}],
    "popularity": {"unknown": 32.0, "half_length": 1.5, "profile": 0.25, "idle_half_life": 0.5,
                   "returning": [-5.6, -0.9, 8.8, 1.5]},
    "max_tokens": 48,
    "text_dim": 384,
    "history_length": 200,
    "metrics": {"ndcg@10": 0.18, "diverged_at_step": 0.0},
    "learning_curve": [{"step": 10, "loss": 3.4}],
    "libraries": {"nightrank": "0.1.0", "numpy": "2.4.6"},
    "files": {"encoder.onnx": {"sha256": "b89e", "bytes": 17}},
}  # fmt: skip
OF_EXPORTS_ALONE = {"trained_version", "export_settings"}

names = st.text(max_size=8)
numbers = st.floats(allow_nan=False)
whole = st.integers(0, 10**6)
values = names | numbers | st.integers(-(10**6), 10**6) | st.booleans()
manifests = st.builds(
    Manifest,
    version=names,
    split=names,
    settings=st.builds(TrainedWith, st.dictionaries(names, values)),
    tables=st.dictionaries(names, whole),
    item_ids=st.lists(names),
    rated_item_ids=st.lists(names),
    blocks=st.lists(st.builds(Block, *[numbers] * 4, name=names, size=whole), max_size=3).map(
        tuple
    ),
    popularity=st.builds(Popularity, *[numbers] * 4, *[st.tuples(*[numbers] * 4)] * 2, numbers),
    encoder=st.builds(
        EncoderFacts,
        max_tokens=whole,
        text_dim=whole,
        pooling=st.sampled_from(["mean", "cls", "max"]),
        normalised=st.booleans(),
        prompt=names,
    ),
    history_length=whole,
    metrics=st.dictionaries(names, numbers),
    learning_curve=st.lists(st.dictionaries(names, numbers), max_size=3),
    libraries=st.dictionaries(names, names),
    files=st.dictionaries(names, st.builds(FileFacts, names, whole)),
    trained_version=st.none() | names,
    export_settings=st.none() | st.dictionaries(names, values),
    code=st.none() | names,
    export_code=st.none() | names,
    export_machine=st.none() | st.dictionaries(names, names),
    quantisation=st.none() | names,
    trained_until=st.none() | numbers,
)


@given(manifests)
def test_what_is_written_reads_back(manifest: Manifest) -> None:
    written = json.loads(json.dumps(manifest.to_json()))
    assert Manifest.from_json(written, FILE) == manifest


def test_a_version_of_0_1_0_opens_and_is_written_with_what_is_younger() -> None:
    manifest = Manifest.from_json(OF_0_1_0, FILE)
    assert manifest.encoder == EncoderFacts(max_tokens=48, text_dim=384)
    assert manifest.files == {"encoder.onnx": FileFacts("b89e", 17)}
    settings = manifest.settings
    assert (settings.positive_threshold, settings.seed, settings.tuned_layers) == (4.0, 3, 2)
    assert (settings.encoder, settings.tuning, settings.tuning_rank) == (
        "all-MiniLM-L6-v2", "lora", 8,
    )  # fmt: skip
    # its histories held likes alone, and popularity said nothing right after a visit
    blocks = [{**block, "below": 0.0} for block in OF_0_1_0["blocks"]]
    popularity = {**OF_0_1_0["popularity"], "visiting": [0.0] * 4, "unknown_visiting": 32.0}
    expected = {**OF_0_1_0, "blocks": blocks, "popularity": popularity}
    assert json.loads(json.dumps(manifest.to_json())) == expected


@pytest.mark.parametrize("key", sorted(OF_0_1_0.keys() - OF_EXPORTS_ALONE))
def test_a_missing_key_is_named(key: str) -> None:
    content = {name: value for name, value in OF_0_1_0.items() if name != key}
    with pytest.raises(InputError, match=rf"v1/model\.json: key `{key}` is missing"):
        Manifest.from_json(content, FILE)


def test_a_trained_version_has_no_settings_of_an_export() -> None:
    content = {name: OF_0_1_0[name] for name in OF_0_1_0.keys() - OF_EXPORTS_ALONE}
    manifest = Manifest.from_json(content, FILE)
    assert (manifest.trained_version, manifest.export_settings) == (None, None)
    assert manifest.to_json().keys() == content.keys()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shiny": 1}, r"v1/model\.json: unknown key `shiny`: the version was written by another"),
        ({"max_tokens": "48"}, r"v1/model\.json: key `max_tokens`: expected int, got '48'"),
        ({"text_dim": True}, r"key `text_dim`: expected int, got True"),
        ({"item_ids": "1, 2"}, r"key `item_ids`: expected list, got '1, 2'"),
        ({"tables": {"items": 1.5}}, r"key `tables`: expected int, got 1\.5"),
        ({"settings": {"seed": [0]}}, r"key `settings`: expected str, got \[0\]"),
        ({"trained_until": "1998"}, r"key `trained_until`: expected float, got '1998'"),
        ({"blocks": [{"name": "b"}]}, r"key `blocks`: `away` is missing"),
        ({"files": {"a": {"sha256": "", "bytes": 1, "owner": ""}}}, r"`files`: `owner` is unknown"),
        (
            {"popularity": {**OF_0_1_0["popularity"], "returning": [1.0]}},
            r"key `popularity`: expected four numbers, got 1",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_file(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Manifest.from_json({**OF_0_1_0, **changed}, FILE)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(InputError, match="expected an object of keys, got list"):
        Manifest.from_json([], FILE)


def test_a_setting_that_nobody_recorded_is_named() -> None:
    manifest = replace(toy_version.manifest("v1", []), settings=TrainedWith({}))
    with pytest.raises(InputError, match=r"model\.json has no setting `positive_threshold`"):
        _ = manifest.settings.positive_threshold
