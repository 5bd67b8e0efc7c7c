"""A model version: one folder, complete in itself, every file hashed.

- `write_manifest` hashes what lies in the folder and writes `model.json` last, atomically:
  a folder without it is no version.
- `open_bundle` refuses a folder whose files differ from their hashes, a version that lacks a file
  which its step writes, and ONNX files that point outside themselves or carry operators of other
  domains than ONNX Runtime's own.

Trade-off: opening reads every byte once; a version of 100 MB costs a tenth of a second, and
nothing that was tampered with or half-copied is ever run.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from models.errors import InputError
from models.serving.manifest import EncoderFacts, FileFacts, Manifest

MANIFEST = "model.json"
ENCODER = "encoder.onnx"
TOKENIZER = "tokenizer.json"
ITEM_TOWER = "item_tower.onnx"
USER_TOWER = "user_tower.onnx"
RANKER = "ranker.onnx"
ITEM_FACTORS = "item_factors.npy"
HISTORY_FACTORS = "history_factors.npy"
PROFILE_MAP = "profile_map.npy"  # what profiles mean [w, p], and as last column their mean
ATTRIBUTES = "attributes.json"
ATTRIBUTE_FACTORS = "attribute_factors.npy"
INTEREST = "interest.safetensors"
TEXTS = "training/texts.json"
PRETRAINED_VECTORS = "training/pretrained_vectors.npy"
FINE_TUNED_VECTORS = "training/fine_tuned_vectors.npy"

_BY_TRAINING = (
    *("training/encoder.safetensors", "training/towers.safetensors"),
    *(TEXTS, PRETRAINED_VECTORS, FINE_TUNED_VECTORS, ATTRIBUTES, ATTRIBUTE_FACTORS, INTEREST),
)
_BY_EXPORT = (
    *(ENCODER, TOKENIZER, ITEM_TOWER, USER_TOWER, RANKER, ITEM_FACTORS, HISTORY_FACTORS),
    *(ATTRIBUTES, ATTRIBUTE_FACTORS, INTEREST),
)

_KNOWN_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}


@dataclass(frozen=True)
class ExportedEncoder:
    """A text encoder as files: the ONNX graph, the tokenizer, and what is to be known of both."""

    graph: Path
    tokenizer: Path
    facts: EncoderFacts


@dataclass(frozen=True)
class Bundle:
    """A verified model version."""

    folder: Path
    manifest: Manifest

    @property
    def version(self) -> str:
        """The version's name, which is also its folder's."""
        return self.manifest.version

    @property
    def item_ids(self) -> list[str]:
        """Ids of the items that have factors of their own, in the order of those."""
        return self.manifest.item_ids

    @property
    def positive_threshold(self) -> float:
        """The value from which an interaction was a positive in training."""
        return self.manifest.settings.positive_threshold

    @property
    def exported(self) -> bool:
        """Whether `export` has completed the version, so that it can score."""
        return RANKER in self.manifest.files

    @property
    def encoder(self) -> ExportedEncoder:
        """The version's text encoder; InputError where it isn't exported."""
        return ExportedEncoder(self.path(ENCODER), self.path(TOKENIZER), self.manifest.encoder)

    def path(self, name: str) -> Path:
        """Return the path of one of the version's files; InputError when it has none."""
        if name not in self.manifest.files:
            raise InputError(
                f"model version {self.version} has no {name}: run `nightrank export` first"
            )
        return self.folder / name

    def array(self, name: str) -> NDArray[Any]:
        """Return one of the version's `.npy` arrays, memory-mapped."""
        array: NDArray[Any] = np.load(self.path(name), mmap_mode="r", allow_pickle=False)
        return array


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """Hash the files under `folder`, write `model.json` atomically and return the version."""
    bundle = with_new_files(Bundle(folder, replace(manifest, files={})))
    save_manifest(bundle)
    return bundle


def with_new_files(bundle: Bundle) -> Bundle:
    """Return the version with the files of its folder that its manifest lacks, hashed.

    Those that the manifest names already are not read again.
    """
    files = dict(bundle.manifest.files)
    for path in sorted(bundle.folder.rglob("*")):
        name = str(path.relative_to(bundle.folder))
        if path.is_file() and path.name != MANIFEST and name not in files:
            files[name] = FileFacts(_sha256(path), path.stat().st_size)
    return Bundle(bundle.folder, replace(bundle.manifest, files=files))


def save_manifest(bundle: Bundle) -> None:
    """Write the version's `model.json` atomically, with the hashes that its manifest has."""
    partial = bundle.folder / f".{MANIFEST}.partial"
    content = bundle.manifest.to_json()
    text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True)
    partial.write_text(text, "utf-8")
    partial.replace(bundle.folder / MANIFEST)


def refuse_incomplete(bundle: Bundle) -> None:
    """Raise InputError where the version lacks a file that the step which made it writes.

    Versions of 0.1.0 don't say which step that was, and are let through.
    """
    manifest = bundle.manifest
    made = _BY_EXPORT if manifest.trained_version else _BY_TRAINING if manifest.code else ()
    missing = [name for name in made if name not in manifest.files]
    if missing:
        raise InputError(
            f"model version {bundle.version} in {bundle.folder} is incomplete, it lacks "
            f"{missing[0]}: train or export it again"
        )


def manifest_hash(folder: Path) -> str:
    """Return the SHA-256 of the version's `model.json`, which holds those of all its files."""
    return _sha256(folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """Return what the version in `folder` says of itself, without a look at its files.

    Raises InputError where there is none or it can't be read.
    """
    file = folder / MANIFEST
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"no model version in {folder}: {MANIFEST} can't be read") from error
    except ValueError as error:
        raise InputError(f"{file} is damaged: {error}") from error
    return Manifest.from_json(content, file)


def open_bundle(folder: Path) -> Bundle:
    """Verify the version in `folder` and return it.

    Raises InputError that names the file which is missing, changed or unsafe.
    """
    bundle = Bundle(folder, read_manifest(folder))
    refuse_incomplete(bundle)
    for name, facts in bundle.manifest.files.items():
        _verify(folder, name, facts.sha256)
    return bundle


def _verify(folder: Path, name: str, expected: str) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder / MANIFEST} names {name}, which lies outside the version")
    if not path.is_file():
        raise InputError(f"{path} is missing: restore it or train again")
    found = _sha256(path)
    if found != expected:
        raise InputError(
            f"{path}: its sha256 is {found[:12]}…, {MANIFEST} says {expected[:12]}…: "
            "restore it or train again"
        )
    if path.suffix == ".onnx":
        refuse_unsafe_graph(path)


def refuse_unsafe_graph(path: Path) -> None:
    """Raise InputError where an ONNX file holds external data or operators of unknown domains.

    External data may point anywhere on the disk (CVE-2025-51480, CVE-2026-27489), and operators
    of other domains are native code; versions of ours need neither.
    """
    model = onnx.load(str(path), load_external_data=False)
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise InputError(f"{path} keeps weights outside itself: export it again")
    unknown = {opset.domain for opset in model.opset_import} - _KNOWN_DOMAINS
    used = {node.domain for node in model.graph.node} & unknown
    if used:
        raise InputError(f"{path} needs operators of {sorted(used)}: export it again")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
