"""A model version is whole, unchanged and harmless, or it is refused by name."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from toy_version import manifest

from models.errors import InputError
from models.serving.bundle import MANIFEST, open_bundle, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "training").mkdir()
    np.save(tmp_path / "item_factors.npy", np.eye(2, dtype=np.float32))
    (tmp_path / "training" / "texts.json").write_text('["a film"]', "utf-8")
    write_manifest(tmp_path, manifest("v1", ["x", "y"]))
    return tmp_path


def save_graph(path: Path, domain: str = "", external: bool = False) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    if external:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="../../secret.bin")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"], domain=domain)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [weight],
    )
    opsets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())


def test_a_version_opens_as_it_was_written(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert (bundle.version, bundle.item_ids, bundle.exported) == ("v1", ["x", "y"], False)
    np.testing.assert_array_equal(bundle.array("item_factors.npy"), np.eye(2))
    assert set(bundle.manifest.files) == {"item_factors.npy", "training/texts.json"}


def test_a_changed_file_is_refused_by_name(folder: Path) -> None:
    (folder / "training" / "texts.json").write_text('["another"]', "utf-8")
    with pytest.raises(InputError, match=r"texts\.json: its sha256 is"):
        open_bundle(folder)


def test_a_missing_file_is_refused_by_name(folder: Path) -> None:
    (folder / "item_factors.npy").unlink()
    with pytest.raises(InputError, match=r"item_factors\.npy is missing"):
        open_bundle(folder)


def test_a_folder_without_a_manifest_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model version in"):
        open_bundle(tmp_path)


def test_a_manifest_that_names_files_elsewhere_is_refused(folder: Path) -> None:
    text = (folder / MANIFEST).read_text("utf-8")
    (folder / MANIFEST).write_text(text.replace("item_factors.npy", "../item_factors.npy"), "utf-8")
    with pytest.raises(InputError, match="lies outside the version"):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"external": True}, "keeps weights outside itself"),
        ({"domain": "evil.ops"}, r"needs operators of \['evil\.ops'\]"),
    ],
)
def test_graphs_that_could_reach_out_are_refused(
    folder: Path, kind: dict[str, object], message: str
) -> None:
    save_graph(folder / "encoder.onnx", **kind)  # type: ignore[arg-type]
    assert onnx.load(str(folder / "encoder.onnx"), load_external_data=False)
    write_manifest(folder, manifest("v1", []))
    with pytest.raises(InputError, match=message):
        open_bundle(folder)


def test_what_a_version_lacks_names_the_step_that_makes_it(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no encoder\.onnx: run `nightrank export` first"):
        open_bundle(folder).path("encoder.onnx")
