"""The registry opens the version that was registered, and no other in its place."""

from dataclasses import replace
from pathlib import Path

import pytest
import toy_version

from jobs.settings.model import Settings
from jobs.versions.registry import Registry
from models.errors import InputError
from models.serving.bundle import write_manifest


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """The registry of a warehouse with one version, which is the champion."""
    return toy_version.nominal_champion(Settings(warehouse=str(tmp_path)))


def test_a_version_that_was_written_anew_in_its_place_is_refused(registry: Registry) -> None:
    """Its files have the hashes that its own manifest says, but the registry has another's."""
    assert registry.champion().version == "toy"
    folder = registry.folder_of("toy")
    (folder / "weights").write_bytes(b"others")
    write_manifest(folder, replace(toy_version.manifest("toy", ["a"]), metrics={"ndcg@10": 0.9}))
    for opened in (registry.champion, registry.candidate, lambda: registry.candidate("toy")):
        with pytest.raises(InputError, match=r"model.json isn't the one that was registered"):
            opened()


def test_a_version_of_a_release_that_registered_no_hash_opens(registry: Registry) -> None:
    client = registry._client
    client.delete_model_version_tag("nightrank", "1", "manifest_sha256")
    assert registry.champion().version == "toy"
