"""The code and the files that make a model version, as hashes that go into its name.

- `code_hash` covers all of `models` and, of `jobs`, what `train` and `export` compute with
  (MAKERS): SHA-256 over the files' paths, in order, and their contents. Whoever changes a constant
  gets a new version and not the one that the old constant made.
- `folder_hash` covers a language model that a setting names by its folder.
- `identity_hash` covers all that makes a version, these hashes among it.

Trade-off: a changed comment, or a change in `models` that only `evaluate` uses, gives a new name
too, and the same model is trained again. The hash can be too careful, but never miss a change.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.abc import Traversable
from importlib.resources import files
from pathlib import Path

MAKERS = {
    "models": ("",),
    "jobs": (
        "gate",
        "steps/export.py",
        "steps/train.py",
        "versions/code.py",
        "versions/draft.py",
        "versions/exported.py",
        "versions/trained.py",
        "warehouse/dataset.py",
        "warehouse/kinds.py",
    ),
}
_SUFFIXES = (".json", ".py")
_HEX_DIGITS = 16


@cache
def code_hash() -> str:
    """Return the hash of the code that makes versions, as this process has it."""
    return hash_of_packages({package: files(package) for package in MAKERS})


def hash_of_packages(packages: Mapping[str, Traversable]) -> str:
    """Return the hash of what MAKERS names, from the folders (or zips) of the packages."""
    found: dict[str, bytes] = {}
    for package, parts in MAKERS.items():
        for part in parts:
            found |= _sources(packages[package].joinpath(part), f"{package}/{part}")
    return _hash(found.items())


def folder_hash(folder: Path) -> str:
    """Return the hash of all files under `folder`, by their paths in it."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return _hash((path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths)


def identity_hash(identity: Mapping[str, object]) -> str:
    """Return the hash of what makes a version, by name; the order of the names doesn't matter."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _sources(place: Traversable, name: str) -> Iterator[tuple[str, bytes]]:
    if place.is_file():
        if name.endswith(_SUFFIXES):
            yield name, place.read_bytes()
        return
    for child in place.iterdir():
        yield from _sources(child, f"{name.rstrip('/')}/{child.name}")


def _hash(found: Iterable[tuple[str, bytes]]) -> str:
    each = sorted((name, hashlib.sha256(content).hexdigest()) for name, content in found)
    return hashlib.sha256(repr(each).encode()).hexdigest()[:_HEX_DIGITS]
