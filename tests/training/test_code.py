"""The code that makes a version is in its name, wherever it lies."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.settings.model import Settings
from jobs.versions import trained
from jobs.versions.code import MAKERS, code_hash, folder_hash, hash_of_packages
from jobs.warehouse.dataset import Dataset
from models.data.interactions import Catalogue, Interactions

PROJECT = Path(__file__).parents[2]
ASK = "from jobs.versions.code import code_hash; print(code_hash())"
# what the makers import and a version doesn't depend on: where things lie, what is told of them,
# and settings, whose values stand in the name themselves
AROUND = {"context", "reports", "settings", "spark"}
AROUND_MODULES = {"jobs.versions.registry", "jobs.versions.workplace", "jobs.warehouse.lineage",
                  "jobs.warehouse.delta", "jobs.warehouse.footprint",
                  "jobs.warehouse.tables"}  # fmt: skip


def dataset(title: str = "A", value: float = 5.0, version: int = 1) -> Dataset:
    one = np.zeros(1, dtype=np.int64)
    return Dataset(
        catalogue=Catalogue(("a",), (title,), ("",), ({},), np.ones(1, dtype=np.bool_)),
        interactions=Interactions(one, one, np.array([value]), np.array([9.0]), 1, 1),
        user_ids=("u",),
        profiles=("",),
        user_attributes=({},),
        versions={"interactions": version},
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in MAKERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / package, tmp_path / package, ignore=ignored)
    return tmp_path


def hash_in(root: Path) -> str:
    return hash_of_packages({package: root / package for package in MAKERS})


def test_a_copy_elsewhere_has_the_same_hash(copy: Path) -> None:
    assert hash_in(copy) == code_hash() == code_hash()


def test_a_changed_constant_gives_another_name(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset()
    before = trained.version_name(Settings(), data)
    assert trained.version_name(Settings(), data) == before
    ease = copy / "models" / "factors" / "ease.py"
    text = ease.read_text("utf-8")
    assert "penalty: float = 500.0\n" in text
    ease.write_text(text.replace("penalty: float = 500.0\n", "penalty: float = 999.0\n"), "utf-8")
    monkeypatch.setattr(trained, "code_hash", lambda: hash_in(copy))
    assert trained.version_name(Settings(), data) != before


def test_other_contents_under_the_same_version_numbers_give_another_name() -> None:
    before = trained.version_name(Settings(), dataset())
    assert trained.version_name(Settings(), dataset()) == before
    for other in (dataset(title="B"), dataset(value=4.0), dataset(version=2)):
        assert trained.version_name(Settings(), other) != before


@pytest.mark.parametrize(
    "file",
    [
        "models/data/splits.py",
        "models/network/general_sentences.json",
        "jobs/gate/parity.py",
        "jobs/steps/export.py",
        "jobs/steps/train.py",
        "jobs/versions/draft.py",
        "jobs/versions/trained.py",
        "jobs/warehouse/dataset.py",
    ],
)
def test_a_comment_counts_too(copy: Path, file: str) -> None:
    with (copy / file).open("a", encoding="utf-8") as stream:
        stream.write("\n# a comment\n")
    assert hash_in(copy) != code_hash()


def test_what_makes_no_version_does_not_count(copy: Path) -> None:
    (copy / "jobs" / "steps" / "publish.py").write_text("", "utf-8")
    (copy / "models" / "__pycache__").mkdir()
    (copy / "models" / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"compiled")
    assert hash_in(copy) == code_hash()


def test_a_moved_file_counts(copy: Path) -> None:
    (copy / "models" / "errors.py").rename(copy / "models" / "mistakes.py")
    assert hash_in(copy) != code_hash()


def test_an_archive_on_the_python_path_has_the_hash_of_the_folder(
    copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    archive = tmp_path_factory.mktemp("zip") / "nightrank.zip"
    with ZipFile(archive, "w") as zipped:
        for path in sorted(copy.rglob("*")):
            zipped.write(path, path.relative_to(copy))
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(archive)!r}); {ASK}"],
        cwd=archive.parent, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout.strip() == code_hash()


def test_every_part_exists_and_what_the_makers_import_is_among_them() -> None:
    covered = set()
    for part in MAKERS["jobs"]:
        place = PROJECT / "jobs" / part
        assert place.exists(), part
        covered |= set(place.rglob("*.py")) if place.is_dir() else {place}
    for path in covered:
        for module in imports_of(path):
            parts = module.split(".")
            if parts[0] != "jobs" or parts[1] in AROUND or module in AROUND_MODULES:
                continue
            assert file_of(module) in covered, f"{path} imports {module}"


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if file_of(name).exists()} or {node.module}
    return found


def file_of(module: str) -> Path:
    return PROJECT.joinpath(*module.split(".")).with_suffix(".py")


@settings(max_examples=10)
@given(st.dictionaries(st.text("abc", min_size=1), st.binary(), min_size=1))
def test_a_folders_hash_is_of_names_and_contents(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    first, second = (tmp_path_factory.mktemp("folder") for _ in range(2))
    for folder, names in ((first, sorted(contents)), (second, sorted(contents, reverse=True))):
        for name in names:
            (folder / name).write_bytes(contents[name])
    assert folder_hash(first) == folder_hash(second)
    (second / min(contents)).write_bytes(contents[min(contents)] + b"!")
    assert folder_hash(first) != folder_hash(second)


def test_a_language_model_that_changes_in_its_folder_gives_another_name(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    settings = Settings(encoder=str(tmp_path))
    before = trained.version_name(settings, dataset())
    assert trained.version_name(settings, dataset()) == before
    (tmp_path / "weights").write_bytes(b"2")
    assert trained.version_name(settings, dataset()) != before
