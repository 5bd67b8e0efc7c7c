"""A version is made once, by one process at a time, in a folder of its maker's own."""

import multiprocessing
import time
from pathlib import Path

import pytest

from jobs.versions.workplace import only_maker, partial_folder, put_in_place
from jobs.warehouse.delta import Warehouse

MAKERS = 3


def make(root: str, out: str) -> None:
    """Make the version `v` where it isn't there, slowly, and note that it was made."""
    warehouse = Warehouse(root)
    folder = warehouse.models_folder / "v"
    with only_maker(warehouse, "v"):
        if folder.exists():
            return
        partial = partial_folder(warehouse.models_folder, "v")
        partial.mkdir(parents=True)
        for part in range(3):
            time.sleep(0.1)
            (partial / str(part)).write_text("whole", "utf-8")
        put_in_place(partial, folder)
        with Path(out).open("a", encoding="utf-8") as file:
            file.write("made\n")


def test_of_several_processes_one_makes_the_version(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    arguments = (str(tmp_path / "w"), str(tmp_path / "out"))
    both = [spawn.Process(target=make, args=arguments) for _ in range(MAKERS)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0] * MAKERS
    assert (tmp_path / "out").read_text("utf-8") == "made\n"
    models = tmp_path / "w" / "models"
    assert [one.name for one in models.iterdir()] == ["v"]
    assert sorted(one.name for one in (models / "v").iterdir()) == ["0", "1", "2"]


def test_what_a_killed_maker_has_left_is_removed_and_what_stands_there_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse = Warehouse(str(tmp_path))
    models = warehouse.models_folder
    for name in ("v.0a.partial", "other.0a.partial", "v"):
        (models / name).mkdir(parents=True)
    with only_maker(warehouse, "v"):
        assert {one.name for one in models.iterdir()} == {"other.0a.partial", "v"}
        partial = partial_folder(models, "v")
        partial.mkdir()
        (partial / "new").touch()
        put_in_place(partial, models / "v")
    assert (models / "v" / "new").exists()
    assert len(list(models.glob("v.*.damaged"))) == 1
    assert "is put aside" in caplog.text
