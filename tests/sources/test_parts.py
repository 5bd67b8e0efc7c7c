"""The parts of a table, by what lies in its folder: what is read, left out, or refused by name."""

import os
from pathlib import Path

import pytest

from jobs.sources.files.parts import parts, stem_and_ending
from jobs.sources.folder import FolderSource
from models.errors import InputError


def made(root: Path, *names: str) -> Path:
    """Write files of a byte, empty ones where the name ends with 0, and folders where with /."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.write_text("" if name.endswith("0") else "x")
    return root


FOUND = [
    (["a.csv"], ["a.csv"]),
    (["b.csv", "a.csv"], ["a.csv", "b.csv"]),
    (["old/", "a.csv"], ["a.csv"]),
    (["old/b.csv", "a.csv"], ["a.csv", "old/b.csv"]),
    (["x/y/z/a.csv"], ["x/y/z/a.csv"]),
    (["_SUCCESS", ".a.csv.crc", "a.csv"], ["a.csv"]),
    (["_temporary/b.csv", ".hidden/c.csv", "a.csv"], ["a.csv"]),
    (["part-00001", "000000_1"], ["000000_1", "part-00001"]),
    (["part-0", "part-1"], ["part-1"]),  # the empty one is left out
    (["part-0"], ["part-0"]),
    (["day=1/a.csv", "day=2/a.csv"], ["day=1/a.csv", "day=2/a.csv"]),
    (["a.csv.gz", "b.CSV.BZ2", "c.csv.zst"], ["a.csv.gz", "b.CSV.BZ2", "c.csv.zst"]),
    (["a [1].csv", "b*.csv", "c?{d}.csv", "e\\f.csv"],
     ["a [1].csv", "b*.csv", "c?{d}.csv", "e\\f.csv"]),
]  # fmt: skip


@pytest.mark.parametrize(("names", "expected"), FOUND, ids=lambda names: ",".join(names))
def test_every_visible_file_is_a_part(
    tmp_path: Path, names: list[str], expected: list[str]
) -> None:
    root = made(tmp_path / "items.csv", *names)
    assert [str(part.path.relative_to(root)) for part in parts(root)] == expected


def test_folders_of_hive_are_columns(tmp_path: Path) -> None:
    root = made(tmp_path / "items.csv", "year=2024/day=1/a.csv", "plain/b.csv", "c.csv")
    assert {part.path.name: part.keys for part in parts(root)} == {
        "a.csv": ("year", "day"), "b.csv": (), "c.csv": (),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("items.csv", ("items", ".csv")),
        ("Items.CSV", ("Items", ".csv")),
        ("items.csv.gz", ("items", ".csv")),
        ("items.jsonl.BZ2", ("items", ".jsonl")),
        ("items.parquet.zst", ("items", ".parquet")),
        ("items", ("items", "")),
        ("ml.inter.gz", ("ml", ".inter")),
    ],
)
def test_a_name_says_table_and_format(name: str, expected: tuple[str, str]) -> None:
    assert stem_and_ending(Path(name)) == expected


def test_a_link_to_its_own_folder_ends(tmp_path: Path) -> None:
    root = made(tmp_path / "items.csv", "a.csv")
    (root / "again").symlink_to(root)
    assert [part.path.name for part in parts(root)] == ["a.csv"]


@pytest.mark.parametrize("depth", ["", "x/", "day=1/x/"])
@pytest.mark.parametrize(
    "kind",
    ["dangling", "pipe", "loop", "delta", "hudi", "unknown", "latin1", "device", "empty"],
)
def test_what_is_no_part_is_refused_by_its_path(tmp_path: Path, kind: str, depth: str) -> None:
    root = made(tmp_path / "items", f"{depth}a.csv")
    path = root / depth / "bad.csv"
    if kind == "dangling":
        path.symlink_to(tmp_path / "nowhere.csv")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "delta":
        (path / "_delta_log").mkdir(parents=True)
    elif kind == "hudi":
        (path / ".hoodie").mkdir(parents=True)
    elif kind == "latin1":
        path = root / depth / os.fsdecode(b"bad\xe9.csv")
        path.touch()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "unknown":
        path = path.with_suffix(".xlsx")
        path.touch()
    else:
        root, path = made(tmp_path, f"bare/{depth}.hidden/") / "bare", tmp_path / "bare"
    with pytest.raises(InputError, match=path.name):
        parts(root)


@pytest.mark.parametrize(
    "name",
    ["items.csv.xz", "items.csv.zip", "items.csv.lz4", "items.csv.snappy", "items.xlsx", "items",
     "items.orc", "ITEMS.txt", "items.csv.gz.gz", "Items.avro"],
)  # fmt: skip
def test_a_table_in_another_format_is_not_passed_over(tmp_path: Path, name: str) -> None:
    folder = made(tmp_path, "interactions.csv", name)
    with pytest.raises(InputError, match=f"{name}: unknown format"):
        FolderSource(folder)


@pytest.mark.parametrize(
    "name", ["Interactions.csv", "INTERACTIONS.CSV", "interactions.csv.bz2", "interactions/a.csv"]
)
def test_a_table_is_found_whatever_its_case_and_packing(tmp_path: Path, name: str) -> None:
    assert FolderSource(made(tmp_path, name)).fingerprint()


def test_other_files_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        FolderSource(made(tmp_path, "interactions.csv", "ratings.csv", "items-old.csv"))
    assert "not read: items-old.csv, ratings.csv" in caplog.text


def test_two_spellings_of_one_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"are both table `items`"):
        FolderSource(made(tmp_path, "items.csv", "Items.csv.gz"))


def test_a_folder_of_hive_changes_the_fingerprint(tmp_path: Path) -> None:
    one = FolderSource(made(tmp_path / "1", "items.csv/day=1/a.csv")).fingerprint()
    two = FolderSource(made(tmp_path / "2", "items.csv/day=2/a.csv")).fingerprint()
    assert one != two


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can't be read: File name too long"):
        FolderSource(tmp_path / ("x" * 300))
