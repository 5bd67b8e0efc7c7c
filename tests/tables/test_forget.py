"""Who is forgotten is in no row, no older version, no log and no message; all others stay."""

import datetime as dt
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from staging import NEW_YEAR, add, copied, ingested, publish_night, stage, visible

from jobs import cli
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.sources.label_sheet import SHEET, write_sheet
from jobs.steps import publish, sql
from jobs.steps.history import forget
from jobs.steps.upkeep import doctor
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import (
    ACTIVE_LEARNING,
    INTERACTIONS,
    RECOMMENDATIONS,
    REJECTED_ROWS,
    RUNS,
    TABLES,
    USERS,
)
from models.errors import InputError

EVE = 'eve-"o\'neill"-😀'
NAMES = (EVE, "zoë-quux")
NIGHTS = [dt.date(2026, 1, day) for day in (5, 6)]
BY_NAME = "SELECT count(*) FROM {} WHERE user_id IN ('eve-\"o''neill\"-😀', 'zoë-quux')"


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two published nights, a staged one, labels and rejected rows, all with two more users."""
    folder = tmp_path_factory.mktemp("two-nights")
    made = ingested(folder).model_copy(update={"reports": str(folder / "reports")})
    warehouse = Warehouse(made.warehouse)
    for name in NAMES:
        seen: dict[str, Any] = {"user_id": [name], "item_id": ["a"], "value": [5.0]}
        add(warehouse, INTERACTIONS, {**seen, "ts": [NEW_YEAR], "ingest_id": ["1"]})
        add(warehouse, USERS, {"user_id": [name], "text": ["nurse"], "attributes": [[]]})
        label: dict[str, Any] = {
            "user_id": name, "item_id": "b", "title": "B", "probability": 0.5, "uncertainty": 1.0,
            "model_version": "m", "asked_at": NEW_YEAR, "value": None, "labelled_at": None,
        }  # fmt: skip
        schema = TABLES[ACTIVE_LEARNING].arrow_schema
        warehouse.append(ACTIVE_LEARNING, pa.Table.from_pylist([label], schema=schema))
        write_sheet(folder / "reports" / SHEET, [label, {**label, "user_id": "ada"}])
    rows = ['{"user_id":"zoë-quux","value":"x"}', "half a row of zoë-quux", '{"user_id":"ada"}']
    reject = {"table": [INTERACTIONS] * 3, "reason": ["bad"] * 3, "row": rows}
    add(warehouse, REJECTED_ROWS, {**reject, "ingest_id": ["1"] * 3})
    lists = [("ada", 1, "b", 0.5), *((name, 1, "b", 0.5) for name in NAMES)]
    lists += [("o'dd\n\"😀", 1, "a", 0.75), ("o'dd\n\"😀", 2, "b", 0.5)]
    for night in NIGHTS:
        publish_night(made, lists, night)
    stage(warehouse, [(EVE, 1, "a", 0.5)], dt.date(2026, 1, 7))
    with pytest.raises(InputError, match=r"audit"):
        publish.run(Context.of(made), "2026-01-07")
    return made


@pytest.fixture
def settings(two_nights: Settings, tmp_path: Path) -> Settings:
    """A copy for one test."""
    return copied(two_nights, tmp_path)


def bytes_of(settings: Settings) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in Path(settings.warehouse).rglob("*") if p.is_file()}


def naming(settings: Settings) -> list[str]:
    """Return the files of warehouse and reports that hold one of the names, also as JSON does."""
    found = []
    for root in (settings.warehouse, settings.reports):
        for path in Path(root).rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            if b"neill" in content or b"-quux" in content:
                found.append(str(path))
    return found


def rows_about_them(settings: Settings) -> int:
    tables = (INTERACTIONS, USERS, RECOMMENDATIONS, "recommendations_staged", ACTIVE_LEARNING)
    query = " UNION ALL ".join(BY_NAME.format(name) for name in tables)
    return sum(row[0] for row in sql.run(Context.of(settings), query)["rows"])


def test_nothing_is_left_of_them_and_all_of_the_others(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    before = [row for row in visible(settings) if row[0] not in NAMES]
    assert naming(settings)
    assert rows_about_them(settings) > 0
    with caplog.at_level(logging.DEBUG):
        assert forget.run(Context.of(settings), NAMES) == {"users_forgotten": 2}
    assert "quux" not in caplog.text
    assert "neill" not in caplog.text
    assert naming(settings) == []
    assert rows_about_them(settings) == 0
    assert visible(settings) == before
    sheet = (Path(settings.reports) / SHEET).read_text("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in sheet] == ["user_id", "ada"]
    warehouse = Warehouse(settings.warehouse)
    assert warehouse.read(REJECTED_ROWS)["row"].to_pylist() == ['{"user_id":"ada"}']
    for name in (INTERACTIONS, RECOMMENDATIONS, RUNS):
        for version in range(warehouse.version(name)):
            path = warehouse.path(name)
            try:
                DeltaTable(path, version=version).to_pyarrow_table()
            except Exception:  # noqa: BLE001, S112  (files or log of that version are gone)
                continue
    assert doctor.run(Context.of(settings))["text"].startswith("nothing is damaged")
    newest = max(warehouse.read(RUNS).to_pylist(), key=lambda row: row["sequence"])
    assert (newest["step"], newest["status"], dict(newest["rows"])) == (
        "forget", "succeeded", {USERS: 2},
    )  # fmt: skip


def test_a_night_from_before_is_scored_again_before_it_is_published(settings: Settings) -> None:
    stage(Warehouse(settings.warehouse), [("ada", 1, "b", 0.5)], dt.date(2026, 1, 8))
    forget.run(Context.of(settings), NAMES)
    with pytest.raises(InputError, match=r"made of tables that are gone.*run `nightrank score"):
        publish.run(Context.of(settings), "2026-01-08")


@pytest.mark.parametrize("given", [("nobody",), ("zoë-quux", "nobody"), ()])
def test_who_is_unknown_is_refused_and_nothing_changes(
    settings: Settings, capsys: pytest.CaptureFixture[str], given: tuple[str, ...]
) -> None:
    before = bytes_of(settings)
    with pytest.raises(SystemExit) as ended:
        cli.main(["forget", *given, "--warehouse", settings.warehouse])
    assert ended.value.code == 2
    assert ("USER 'nobody': no table" if given else "nobody to forget") in capsys.readouterr().err
    assert bytes_of(settings) == before


def test_a_file_of_ids_names_the_line(settings: Settings, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("zoë-quux\n\nnobody\n", "utf-8")
    with pytest.raises(InputError, match=r"ids\.txt line 3: no table has such a user"):
        forget.run(Context.of(settings), file=ids)
    with pytest.raises(InputError, match=r"none\.txt can't be read"):
        forget.run(Context.of(settings), file=tmp_path / "none.txt")
    ids.write_text("zoë-quux\n\n", "utf-8")
    assert forget.run(Context.of(settings), file=ids) == {"users_forgotten": 1}


@pytest.mark.chaos
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2])
def test_a_killed_one_is_completed_by_the_next(settings: Settings, seconds: float) -> None:
    """Killed after its first commit and some more; then the same command goes on."""
    warehouse = Warehouse(settings.warehouse)
    version = warehouse.version(INTERACTIONS)
    command = [sys.executable, "-m", "jobs.cli", "forget", *NAMES]
    command += ["--warehouse", settings.warehouse, "--reports", settings.reports]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while warehouse.version(INTERACTIONS) == version and process.poll() is None:
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    process.wait()
    if (Path(settings.warehouse) / ".forgetting.json").exists():
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert naming(settings) == []
    assert rows_about_them(settings) == 0
