"""An export is named by all that makes it, and is found again by that."""

from dataclasses import replace
from pathlib import Path

import pytest
import toy_version

from jobs.gate import machine
from jobs.versions import exported
from jobs.versions.exported import ExportInputs
from models.serving.bundle import Bundle, write_manifest

SETTINGS = {"keep_layers": 2, "quantisation": "auto"}
MACHINE = {"device": "cpu", "model": "Some Processor", "onnxruntime": "1.31.1"}


@pytest.fixture
def inputs(tmp_path: Path) -> ExportInputs:
    trained = Bundle(tmp_path / "abc", toy_version.manifest("abc", ["1"]))
    return ExportInputs(trained, SETTINGS, MACHINE)


def test_the_name_holds_the_kind_that_was_measured(inputs: ExportInputs) -> None:
    one, other = (inputs.manifest(kind) for kind in ("int8", "none"))
    assert one.version.startswith("abc-")
    assert one.version.endswith("-int8")
    assert one.version.removesuffix("int8") == other.version.removesuffix("none")
    assert (one.trained_version, one.quantisation) == ("abc", "int8")
    assert (one.export_machine, one.export_settings) == (MACHINE, SETTINGS)
    assert one.item_ids == ["1"]


def test_settings_code_and_machine_are_in_the_name(
    inputs: ExportInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefixes = {
        inputs.prefix,
        replace(inputs, settings={**SETTINGS, "keep_layers": 1}).prefix,
        replace(inputs, machine={**MACHINE, "device": "cuda"}).prefix,
        replace(inputs, machine=None).prefix,
    }
    monkeypatch.setattr(exported, "code_hash", lambda: "other code")
    assert len(prefixes | {inputs.prefix}) == 5


def test_an_export_is_found_again_without_measuring(inputs: ExportInputs, tmp_path: Path) -> None:
    assert inputs.made_before(tmp_path) is None
    (tmp_path / f"{inputs.prefix}.partial").mkdir()
    (tmp_path / f"{inputs.prefix}-none").mkdir()  # no version: it has no model.json
    assert inputs.made_before(tmp_path) is None
    folder = tmp_path / f"{inputs.prefix}-int8"
    folder.mkdir()
    write_manifest(folder, inputs.manifest("int8"))
    assert inputs.made_before(tmp_path) == folder
    assert replace(inputs, machine=None).made_before(tmp_path) is None


def test_a_machine_is_told_by_its_processor(tmp_path: Path) -> None:
    assert machine.machine_of("cpu").keys() == {"device", "model", "onnxruntime"}
    assert machine.machine_of("cpu") == machine.machine_of("cpu")
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: AMD EPYC 7B13 \nflags\t: avx2\n", "utf-8")
    assert machine._processor(info) == "AMD EPYC 7B13"
    assert machine._processor(tmp_path / "missing")
