"""Maintenance removes what is old and what nobody reads, and changes nothing that is read."""

import datetime as dt
import json
import os
import time
from pathlib import Path

import pytest
import toy_version
from deltalake import DeltaTable
from staging import NIGHT, RIGHT, add, copied, ingested, publish_night, stage, vacuum, visible
from version_store import give_store

from jobs.context import Context
from jobs.nights.staged import staged_nights
from jobs.settings.model import Settings
from jobs.steps import maintain, publish, rollback
from jobs.versions.registry import CHAMPION
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import (
    INTERACTIONS,
    RECOMMENDATIONS,
    RECOMMENDATIONS_STAGED,
    RUNS,
    TEXT_VECTORS,
    USERS,
)
from models.errors import InputError
from models.serving.bundle import write_manifest

DAY = 86_400
NIGHTS = [NIGHT + dt.timedelta(days=days) for days in (0, 1, 30, 31)]
FAR = dt.date(2099, 1, 1)


@pytest.fixture(scope="module")
def four_nights(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Four published nights."""
    folder = tmp_path_factory.mktemp("four-nights")
    made = ingested(folder)
    for night in NIGHTS:
        publish_night(made, RIGHT, night)
    return made


@pytest.fixture
def settings(four_nights: Settings, tmp_path: Path) -> Settings:
    """A copy for one test."""
    return copied(four_nights, tmp_path)


def nights(settings: Settings, name: str) -> set[dt.date]:
    return set(Warehouse(settings.warehouse).read(name)["run_date"].to_pylist())


def files(settings: Settings, name: str) -> set[str]:
    """Return the files of rows and of changes that lie in a table's folder."""
    root = Path(settings.warehouse, name)
    return {str(path.relative_to(root)) for path in root.rglob("*.parquet")}


def age(settings: Settings, name: str, days: int) -> None:
    """Make every file and every commit of a table so many days older."""
    root = Path(settings.warehouse, name)
    for log in (root / "_delta_log").glob("*.json"):
        lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        for action in lines:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] -= days * DAY * 1000
        log.write_text("\n".join(map(json.dumps, lines)) + "\n", "utf-8")
    for path in root.rglob("*.parquet"):
        os.utime(path, (time.time() - days * DAY,) * 2)


def keeping(settings: Settings, nights: int) -> Context:
    return Context.of(settings.model_copy(update={"keep_nights": nights}))


def test_old_nights_go_from_both_tables(settings: Settings) -> None:
    before = visible(settings)
    result = maintain.run(keeping(settings, 3))
    for name in (RECOMMENDATIONS, RECOMMENDATIONS_STAGED):
        assert nights(settings, name) == set(NIGHTS[1:])
        assert result["tables"][name]["nights"] == 1
    assert visible(settings) == before
    staged = {night.run_date for night in staged_nights(Warehouse(settings.warehouse))}
    assert staged == set(NIGHTS[1:])
    with pytest.raises(InputError, match=f"night {NIGHTS[0]} isn't staged"):
        publish.run(Context.of(settings), str(NIGHTS[0]))
    with pytest.raises(InputError, match=f"--to {NIGHTS[0]}: that night isn't published"):
        rollback.run(Context.of(settings), str(NIGHTS[0]))


def test_one_night_far_in_the_future_takes_one_place(settings: Settings) -> None:
    """And none once it is rolled back; its rows stay until newer nights have come."""
    publish_night(settings, RIGHT, FAR)
    maintain.run(keeping(settings, 4))
    assert nights(settings, RECOMMENDATIONS) == {*NIGHTS[1:], FAR}
    assert rollback.run(Context.of(settings))["visible_night"] == str(NIGHTS[3])
    maintain.run(keeping(settings, 2))
    assert nights(settings, RECOMMENDATIONS) == {*NIGHTS[2:], FAR}


def test_the_visible_night_and_what_came_after_it_stay(settings: Settings) -> None:
    rollback.run(Context.of(settings), str(NIGHTS[1]))
    before = visible(settings)
    maintain.run(keeping(settings, 1))
    assert nights(settings, RECOMMENDATIONS) == set(NIGHTS[1:])
    assert visible(settings) == before


def test_fewer_nights_than_are_kept_all_stay(settings: Settings) -> None:
    stage(Warehouse(settings.warehouse), RIGHT, NIGHTS[0] - dt.timedelta(days=300))
    maintain.run(keeping(settings, 5))
    assert nights(settings, RECOMMENDATIONS) == set(NIGHTS)
    assert len(nights(settings, RECOMMENDATIONS_STAGED)) == 5


def test_small_files_are_joined_and_changes_are_told_as_before(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    first = warehouse.version(INTERACTIONS)
    seen = warehouse.read(INTERACTIONS)
    warehouse.append(INTERACTIONS, seen)
    version, runs = warehouse.version(INTERACTIONS), warehouse.read(RUNS).num_rows
    result = maintain.run(Context.of(settings))
    done = {"nights": 0, "versions": 0, "joined": 2, "into": 1, "deleted": 0}
    assert result["tables"][INTERACTIONS] == done
    assert len(DeltaTable(warehouse.path(RUNS)).file_uris()) == 2  # the others', and its own
    assert warehouse.read(RUNS).num_rows == runs + 1
    now = warehouse.version(INTERACTIONS)
    assert warehouse.changed(INTERACTIONS, first, now, "user_id") == {"ada"}
    assert warehouse.changed(INTERACTIONS, version, now, "user_id") == set()


def test_a_second_run_finds_nothing_to_do(settings: Settings) -> None:
    maintain.run(keeping(settings, 3))
    again = maintain.run(keeping(settings, 3))["tables"]
    del again[RUNS]  # which has one row more
    assert {tuple(one.values()) for one in again.values()} == {(0,) * 5}


def test_files_are_deleted_when_no_kept_version_has_them(settings: Settings) -> None:
    """Those of replaced rows and of killed attempts, once they are old; never those in use."""
    warehouse = Warehouse(settings.warehouse)
    rows = warehouse.read(USERS)
    warehouse.replace(USERS, rows, "text = 'nurse'")
    young = Path(warehouse.path(RECOMMENDATIONS_STAGED), f"run_date={NIGHTS[3]}", "young.parquet")
    maintain.run(Context.of(settings))
    old = Path(warehouse.path(USERS), "part-of-a-killed-attempt.parquet")
    for stray in (old, young):
        stray.write_bytes(b"half")
    lying = files(settings, USERS)
    assert maintain.run(Context.of(settings))["tables"][USERS]["deleted"] == 0
    assert files(settings, USERS) == lying
    age(settings, USERS, 31)
    assert maintain.run(Context.of(settings))["tables"][USERS]["deleted"] == len(lying) - 1
    [kept] = files(settings, USERS)
    assert DeltaTable(warehouse.path(USERS)).file_uris()[0].endswith(kept)
    assert warehouse.read(USERS) == rows
    assert young.exists()


def test_delta_is_told_how_long_to_keep(settings: Settings) -> None:
    maintain.run(Context.of(settings.model_copy(update={"keep_days": 90})))
    table = DeltaTable(Warehouse(settings.warehouse).path(USERS))
    version, found = table.version(), table.metadata().configuration
    assert {found[name] for name in maintain.RETENTION} == {"interval 90 days"}
    assert table.protocol().min_writer_version == 4  # still plain Delta
    maintain.run(Context.of(settings.model_copy(update={"keep_days": 90})))
    assert DeltaTable(table.table_uri).version() == version


def test_no_change_feed_is_told_where_its_files_are_gone(settings: Settings) -> None:
    """So that a night after a VACUUM scores everybody instead of failing."""
    warehouse = Warehouse(settings.warehouse)
    first = warehouse.version(USERS)
    warehouse.replace(USERS, warehouse.read(USERS), "text = 'nurse'")
    version = warehouse.version(USERS)
    assert warehouse.changed(USERS, first, version, "user_id")
    assert vacuum(warehouse, USERS)
    assert warehouse.changed(USERS, first, version, "user_id") is None


def test_no_warehouse_is_refused_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tables under .*nowhere: run `nightrank ingest"):
        maintain.run(Context.of(Settings(warehouse=str(tmp_path / "nowhere"))))
    assert not (tmp_path / "nowhere").exists()


def test_vectors_of_versions_that_are_no_longer_used_go(settings: Settings) -> None:
    give_store(settings)
    registry, warehouse = Context.of(settings).registry, Warehouse(settings.warehouse)
    for version in ("old", "chosen", "newest"):
        folder = registry.folder_of(version)
        folder.mkdir(parents=True)
        registry.register(write_manifest(folder, toy_version.manifest(version, ["a"])))
        rows = {"text_sha256": ["1", "2"], "model_version": [version] * 2, "vector": [[1.0]] * 2}
        add(warehouse, TEXT_VECTORS, rows)
    registry.set_alias(CHAMPION, "chosen")
    assert maintain.run(Context.of(settings))["tables"][TEXT_VECTORS]["versions"] == 1
    left = warehouse.read(TEXT_VECTORS)["model_version"].to_pylist()
    assert sorted(left) == ["chosen"] * 2 + ["newest"] * 2
