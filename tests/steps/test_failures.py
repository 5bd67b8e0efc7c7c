"""What the platform throws becomes one line, an exit code and a file with the traceback."""

import datetime as dt
import errno
import logging
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import damages
import pytest
import toy_version
from py4j.protocol import Py4JNetworkError
from staging import NIGHT, RIGHT, ingested, publish_night, stage

from jobs import failures
from jobs.cli import _Hiding, main
from jobs.failures import LOGS, VerbError, explain, explained
from jobs.settings.model import Settings
from jobs.warehouse.delta import Warehouse
from models.errors import InputError

SECOND = NIGHT + dt.timedelta(days=1)
VERBS: dict[str, list[str]] = {
    "sql": ["sql", "SELECT sum(score) FROM recommendations"],
    "rollback": ["rollback"],
    "publish": ["publish", "--run-date", str(SECOND)],
    "diff": ["diff", str(NIGHT), str(SECOND)],
    "maintain": ["maintain"],
}
DAMAGED = [
    ("recommendations", damages.cut_data),
    ("recommendations", damages.garble_log),
    ("recommendations", damages.lose_log),
    ("recommendations_staged", damages.lose_data),
    ("items", damages.turn_bits),
    ("recommendations_staged", damages.lose_log_entry),
    ("users", damages.garble_log),
    ("runs", damages.cut_data),
    ("runs", damages.lose_log),
]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with two published nights."""
    settings = ingested(tmp_path_factory.mktemp("published"))
    for night in (NIGHT, SECOND):
        publish_night(settings, RIGHT, night)
    stage(Warehouse(settings.warehouse), RIGHT, SECOND)
    return Path(settings.warehouse)


@pytest.fixture(scope="module")
def champion(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That warehouse with a champion, which is no more than its files."""
    root = tmp_path_factory.mktemp("champion") / "warehouse"
    shutil.copytree(published, root)
    toy_version.nominal_champion(Settings(warehouse=str(root)))
    return root


def ended(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize(
    ("table", "damage"), DAMAGED, ids=[f"{table}-{d.__name__}" for table, d in DAMAGED]
)
def test_a_damaged_table_is_one_line_that_names_it(
    published: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    table: str,
    damage: damages.Damage,
) -> None:
    warehouse = tmp_path / "warehouse"
    shutil.copytree(published, warehouse)
    damage(warehouse / table)
    codes = {}
    for verb, arguments in VERBS.items():
        codes[verb] = ended([*arguments, "--warehouse", str(warehouse)])
        told = capsys.readouterr().err
        assert "Traceback" not in told
        lines = [line for line in told.splitlines() if line.startswith("nightrank: ")]
        if codes[verb]:
            assert codes[verb] == 2
            assert len(lines) == 1
            assert f"`{table}`" in lines[0]
            log = re.search(r"traceback: (\S+)\)", lines[0])
            assert log is None or "Traceback" in Path(log[1]).read_text("utf-8")
    assert 2 in codes.values()
    if table not in ("recommendations", "runs"):
        assert codes["rollback"] == 0  # the way out needs nothing else
    else:
        assert codes["sql"] == 2


def empty_store(models: Path) -> None:
    (models / "mlflow.db").write_bytes(b"")


def cut_store(models: Path) -> None:
    os.truncate(models / "mlflow.db", 40_000)


def garbled_store(models: Path) -> None:
    (models / "mlflow.db").write_bytes(b"no database at all" * 999)


def zeros_in_the_store(models: Path) -> None:
    content = bytearray((models / "mlflow.db").read_bytes())
    content[4096:-4096] = bytes(len(content) - 8192)
    (models / "mlflow.db").write_bytes(content)


def store_without_its_tables(models: Path) -> None:
    with closing(sqlite3.connect(models / "mlflow.db")) as store:
        store.execute("DROP TABLE model_versions")


def folder_for_a_store(models: Path) -> None:
    (models / "mlflow.db").unlink()
    (models / "mlflow.db").mkdir()


def store_of_a_later_release(models: Path) -> None:
    with closing(sqlite3.connect(models / "mlflow.db")) as store:
        store.execute("UPDATE alembic_version SET version_num = 'later'")
        store.commit()


def version_without_its_folder(models: Path) -> None:
    shutil.rmtree(models / "toy")


def version_without_a_file(models: Path) -> None:
    (models / "toy" / "weights").unlink()


def garbled_manifest(models: Path) -> None:
    (models / "toy" / "model.json").write_text('{"version"', "utf-8")


def manifest_of_another_kind(models: Path) -> None:
    (models / "toy" / "model.json").write_text("[]", "utf-8")


STORES = (
    empty_store, cut_store, garbled_store, zeros_in_the_store, store_without_its_tables,
    folder_for_a_store, store_of_a_later_release,
)  # fmt: skip
FOLDERS = (
    version_without_its_folder, version_without_a_file, garbled_manifest, manifest_of_another_kind,
)  # fmt: skip


@pytest.mark.parametrize("damage", [*STORES, *FOLDERS], ids=lambda damage: damage.__name__)
def test_a_damaged_registry_or_version_is_one_line(
    champion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: damages.Damage
) -> None:
    warehouse = tmp_path / "warehouse"
    shutil.copytree(champion, warehouse)
    damage(warehouse / "models")
    ends = {}
    for verb in ("models", "promote", "evaluate", "score"):
        ends[verb] = ended([verb, "--warehouse", str(warehouse)])
        told = capsys.readouterr().err
        assert "Traceback" not in told
        lines = [line for line in told.splitlines() if line.startswith("nightrank: ")]
        assert len(lines) == (1 if ends[verb] else 0), told
        assert not lines or str(warehouse / "models") in lines[0] or "models/mlflow.db" in lines[0]
    assert set(ends.values()) <= {0, 2, 3}
    assert ends["promote"] == ends["score"]
    assert ends["promote"] in (2, 3)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/w/items"), 3, "disk is full"),
        (OSError("Unable to copy data to file: File too large (os error 27)"), 3, "disk is full"),
        (OSError(errno.EMFILE, "Too many open files", "/w/items"), 3, "ulimit"),
        (OSError(errno.EROFS, "Read-only file system", "/w/items"), 3, "read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "/w/items"), 3, "/w/items"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/w/a"), 2, "/w/a"),
        (MemoryError(), 3, "memory wasn't enough"),
        (OSError("Generic S3 error: error sending request for url (http://x/)"), 3, "reached"),
        (Py4JNetworkError("Answer from Java side is empty"), 3, "Java process is gone"),
        (Exception("Could not parse Master URL: 'there'"), 2, "setting `spark_master`"),
        (RuntimeError("Java gateway process exited before sending its port"), 3, "JAVA_HOME"),
        (
            RuntimeError(
                "[FAILED_READ_FILE.NO_HINT] Error while reading file:///w/items/p.parquet"
            ),
            2,
            "table `items` is damaged",
        ),
        (
            RuntimeError("Job aborted.\n\tat org.apache.spark\nCaused by: No space left on device"),
            3,
            "the disk is full: Job aborted.: free",
        ),
        (
            RuntimeError(
                "thrown from the Python worker: Traceback (most recent call last):\n"
                '  File "frame.py", line 1, in attempt\n    yield\nOSError: No space left on device'
            ),
            3,
            "full: thrown from the Python worker: OSError: No space left on device: free",
        ),
        (sqlite3.DatabaseError("file is not a database"), 2, "models/mlflow.db"),
        (sqlite3.OperationalError("database is locked"), 3, "busy"),
        (sqlite3.OperationalError("disk I/O error"), 3, "can't be read or written"),
        (KeyError("colour"), 1, "unexpected KeyError: 'colour': a defect"),
        (RuntimeError("sqlite at postgresql://me:pa@ss@db/x is locked"), 1, "://***@db/x"),
    ],
)
def test_each_kind_has_its_code_and_says_what_to_do(
    error: Exception, code: int, words: str
) -> None:
    line, found = explain(error)
    assert (found, "\n" in line, words in line) == (code, False, True), line


def test_spark_logs_one_line_of_a_failed_python_worker() -> None:
    """By the expressions of its log's layout, which Java and Python read alike."""
    layout = (Path(failures.__file__).parent / "spark" / "log4j2.properties").read_text("utf-8")
    line = next(line for line in layout.splitlines() if "%replace" in line)
    traceback, rest = re.findall(r"\}\{(\(\?s\).*?)\}\{\}", line.replace("\\\\", "\\"))
    message = (
        "Lost task 0.0: thrown from the Python worker: Traceback (most recent call last):\n"
        '  File "frame.py", line 1, in attempt\n    yield\n'
        "OSError: No space left on device\n SQLSTATE: 38000\n\tat org.apache.spark"
    )
    told = re.sub(rest, "", re.sub(traceback, "", message))
    expected = "Lost task 0.0: thrown from the Python worker: OSError: No space left on device"
    assert told == expected


def test_the_traceback_is_kept_without_credentials(tmp_path: Path) -> None:
    address = "https://me:hidden@server/?token=t0k&x=1"
    with pytest.raises(VerbError) as failure, explained("score", str(tmp_path)):
        raise RuntimeError(f"no answer from {address}")
    [log] = (tmp_path / LOGS).iterdir()
    assert str(log) in str(failure.value)
    for text in (str(failure.value), log.read_text("utf-8")):
        assert "https://***@server/?token=***&x=1" in text
        assert "hidden" not in text


def test_where_no_log_can_be_kept_the_line_is_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with no file handle left, where the library finds no folder for temporary files."""

    def nowhere() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(VerbError, match="too many files are open"), explained("publish"):
        raise OSError(errno.EMFILE, "Too many open files")


def test_bad_input_passes_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="as said"), explained("score", str(tmp_path)):
        raise InputError("as said")
    assert not (tmp_path / LOGS).exists()


def test_a_warehouse_that_is_not_there_is_not_made_for_a_log(tmp_path: Path) -> None:
    with pytest.raises(VerbError), explained("score", str(tmp_path / "typo")):
        raise RuntimeError("odd")
    assert not (tmp_path / "typo").exists()


def test_the_newest_hundred_logs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / LOGS
    folder.mkdir()
    for number in range(120):
        (folder / f"old-{number:03}.log").touch()
        os.utime(folder / f"old-{number:03}.log", (number, number))
    with pytest.raises(VerbError) as failure, explained("score", str(tmp_path)):
        raise RuntimeError("odd")
    left = sorted(path.name for path in folder.iterdir())
    assert (len(left), left[0]) == (100, "old-021.log")
    assert any(name in str(failure.value) for name in left)


def test_a_library_that_logs_an_exception_brings_no_traceback_to_the_terminal() -> None:
    try:
        raise RuntimeError("no answer\nfrom https://me:hidden@server/")
    except RuntimeError:
        told = logging.LogRecord("pool", 40, "f", 1, "in reset", None, sys.exc_info())
    text = _Hiding("%(name)s: %(message)s").format(told)
    assert text == "pool: in reset\nRuntimeError: no answer from https://***@server/"
