"""A version in the making: hashed once, its trained version untouched, gone where it failed."""

from dataclasses import replace
from pathlib import Path

import pytest
from toy_version import champion

from jobs.settings.model import Settings
from jobs.versions.draft import Draft
from jobs.versions.exported import ExportInputs
from models.network.encoder import TextEncoder
from models.network.loading import load_language_model
from models.serving.bundle import (
    ENCODER,
    MANIFEST,
    TOKENIZER,
    Bundle,
    open_bundle,
    save_manifest,
    with_new_files,
    write_manifest,
)

pytestmark = pytest.mark.training


@pytest.fixture
def trained(tmp_path: Path) -> Bundle:
    return champion(Settings(warehouse=str(tmp_path)), ["a", "b", "c"])


def test_only_new_files_are_hashed(trained: Bundle) -> None:
    (trained.folder / "new.txt").write_text("new", "utf-8")
    wrong = {
        name: replace(facts, sha256="as said") for name, facts in trained.manifest.files.items()
    }
    found = with_new_files(Bundle(trained.folder, replace(trained.manifest, files=wrong)))
    assert {name for name, facts in found.manifest.files.items() if facts.sha256 != "as said"} == {
        "new.txt"
    }
    assert with_new_files(found) == found


def test_file_by_file_or_all_at_once_is_the_same_version(trained: Bundle) -> None:
    (trained.folder / "new.txt").write_text("new", "utf-8")
    save_manifest(with_new_files(trained))
    step_by_step = (trained.folder / MANIFEST).read_bytes()
    write_manifest(trained.folder, trained.manifest)
    assert (trained.folder / MANIFEST).read_bytes() == step_by_step


@pytest.fixture
def inputs(trained: Bundle) -> ExportInputs:
    """A version that hasn't been exported yet, and the settings of its export."""
    for name in (ENCODER, TOKENIZER):
        (trained.folder / name).unlink()
    without = write_manifest(trained.folder, trained.manifest)
    return ExportInputs(without, {"keep_layers": 2}, None)


def test_a_complete_draft_is_a_version(
    inputs: ExportInputs, tiny_encoder: str, tmp_path: Path
) -> None:
    trained = inputs.trained
    models = trained.folder.parent
    with Draft(inputs, models) as draft:
        assert draft.bundle.folder.parent == models
        encoder = TextEncoder(*load_language_model(tiny_encoder), 16)
        assert draft.add_encoder(encoder, "none").graph.stat().st_size > 0
        folder = draft.complete({"parity_loss": 0.01})
    made = open_bundle(folder).manifest
    assert folder.name == made.version == f"{inputs.prefix}-none"
    assert (made.trained_version, made.quantisation) == (trained.version, "none")
    assert (made.metrics["parity_loss"], made.export_settings) == (0.01, {"keep_layers": 2})
    assert not list(models.glob("*.partial"))


def test_a_draft_that_fails_leaves_nothing(inputs: ExportInputs) -> None:
    models = inputs.trained.folder.parent
    before = set(models.iterdir())
    with pytest.raises(ValueError, match="refused"), Draft(inputs, models):
        raise ValueError("refused")
    assert set(models.iterdir()) == before
    open_bundle(inputs.trained.folder)
