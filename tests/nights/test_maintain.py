"""Maintenance removes what is old and what nobody reads, and changes nothing that is read."""

import datetime as dt
import json
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import toy_version
from deltalake import DeltaTable
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from staging import NIGHT, RIGHT, add, copied, ingested, publish_night, stage, vacuum, visible
from version_store import give_store

from jobs.context import Context
from jobs.health.nights import night_findings
from jobs.nights.staged import staged_nights
from jobs.settings.model import Settings
from jobs.steps import maintain, publish, rollback, sql
from jobs.versions.registry import CHAMPION, Registry
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.pointer import published_nights
from jobs.warehouse.removal.retention import remove_runs
from jobs.warehouse.tables import (
    INTERACTIONS,
    RECOMMENDATIONS,
    RECOMMENDATIONS_STAGED,
    REJECTED_ROWS,
    RUNS,
    TABLES,
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
    done = {"nights": 0, "rows": 0, "versions": 0, "joined": 2, "into": 1, "deleted": 0}
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
    assert {tuple(one.values()) for one in again.values()} == {(0,) * 6}


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


def test_a_night_that_was_left_goes_once_as_many_nights_have_come(settings: Settings) -> None:
    """Its date is the newest, so that only the order of what was done can tell."""
    publish_night(settings, RIGHT, FAR)
    rollback.run(Context.of(settings))
    stage(Warehouse(settings.warehouse), RIGHT, FAR + dt.timedelta(days=1))
    with Context.of(settings).recorded("score", FAR + dt.timedelta(days=1)):
        pass
    later = [NIGHTS[3] + dt.timedelta(days=days) for days in (1, 2)]
    publish_night(settings, RIGHT, later[0])
    maintain.run(keeping(settings, 2))
    assert FAR in nights(settings, RECOMMENDATIONS)
    publish_night(settings, RIGHT, later[1])
    maintain.run(keeping(settings, 2))
    for name in (RECOMMENDATIONS, RECOMMENDATIONS_STAGED):
        assert nights(settings, name) == set(later)


def test_bad_rows_of_the_newest_ingests_stay(settings: Settings) -> None:
    """`a` came first and again last, `b` and `c` in between; `d` is under way."""
    warehouse, context = Warehouse(settings.warehouse), Context.of(settings)
    for ingest in ("a", "b", "c", "a"):
        with context.recorded("ingest") as run:
            run.message = ingest
    for ingest in ("a", "b", "c", "d"):
        row = {"table": ["items"], "reason": ["bad"], "row": ["{}"], "ingest_id": [ingest]}
        add(warehouse, REJECTED_ROWS, row)
    fewer = Context.of(settings.model_copy(update={"keep_ingests": 2}))
    for removed in (1, 0):
        assert maintain.run(fewer)["tables"][REJECTED_ROWS]["rows"] == removed
        left = warehouse.read(REJECTED_ROWS)["ingest_id"].to_pylist()
        assert sorted(left) == ["a", "c", "d"]
    query = "SELECT count(*) FROM rejected_rows WHERE ingest_id = 'a'"
    assert sql.run(context, query)["rows"] == [[1]]


EVENTS = st.tuples(st.sampled_from(["publish", "rollback", "sql"]), st.integers(0, 5))


@settings_of_hypothesis(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=st.lists(EVENTS))
def test_old_runs_go_and_the_visible_night_stays(
    tmp_path: Path, events: list[tuple[str, int]]
) -> None:
    """Whatever was published and rolled back, and whichever nights are still there."""
    warehouse = Warehouse(str(tmp_path / uuid.uuid4().hex))
    days = [NIGHT + dt.timedelta(days=days) for days in range(6)]
    rows = [run_row(step, days[day], n) for n, (step, day) in enumerate(events, 1)]
    add(warehouse, RUNS, columns_of([run_row("ingest", None, 0), *rows]))
    there = sorted({days[day] for step, day in events if step == "publish"})[-3:]
    for night in there:
        add(warehouse, RECOMMENDATIONS, columns_of([night_row(night)]))
    before = published_nights(warehouse)
    table = DeltaTable(warehouse.path(RUNS))
    removed = remove_runs(warehouse, table, 2)
    after = published_nights(warehouse)
    assert warehouse.read(RUNS).num_rows == len(rows) + 1 - removed
    assert {n for n in after.shown if n in there} == {n for n in before.shown if n in there}
    assert all(after.published[night] == before.published[night] for night in there)
    if there:
        assert after.visible == before.visible
    assert remove_runs(warehouse, DeltaTable(warehouse.path(RUNS)), 2) == 0


def run_row(step: str, night: dt.date | None, number: int) -> dict[str, Any]:
    told = {"run_id": str(number), "step": step, "run_date": night, "model_version": f"m{number}"}
    counts = {"inputs": [], "rows": [(RECOMMENDATIONS, number)], "seconds": 1.0}
    end = {"status": "succeeded", "finished_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}
    return {**told, **counts, **end, "message": None, "sequence": number}


def night_row(night: dt.date) -> dict[str, Any]:
    row = {"run_date": night, "user_id": "ada", "rank": 1, "item_id": "b", "score": 0.5}
    return {**row, "model_version": "m", "reason": "profile", "reason_items": None}


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_old_runs_go_and_doctor_still_tells_one_that_was_lost(settings: Settings) -> None:
    warehouse, context = Warehouse(settings.warehouse), Context.of(settings)
    with context.recorded("sql"):
        pass
    *_, last = sorted(warehouse.read(RUNS).to_pylist(), key=lambda row: row["sequence"])
    more = [
        {**last, "run_id": f"sql{number}", "sequence": last["sequence"] + number}
        for number in range(1, 120)
    ]
    warehouse.append(RUNS, pa.Table.from_pylist(more, schema=TABLES[RUNS].arrow_schema))
    seen = visible(settings)
    few = Context.of(settings.model_copy(update={"keep_runs": 100}))
    assert maintain.run(few)["tables"][RUNS]["rows"] == 20  # not the four publishes
    assert visible(settings) == seen
    assert rollback.run(context)["visible_night"] == str(NIGHTS[2])
    assert list(night_findings(warehouse, warehouse.tables())) == []
    runs = warehouse.read(RUNS)
    with warehouse.lock(RUNS):
        warehouse.overwrite(RUNS, runs.filter(pc.field("sequence") != 60))
    [found] = night_findings(warehouse, warehouse.tables())
    assert "numbers on" in found.problem


def registered(
    settings: Settings, version: str, trained: str | None = None, judged: str | None = None
) -> None:
    registry = Context.of(settings).registry
    folder = registry.folder_of(version)
    folder.mkdir(parents=True)
    made = toy_version.manifest(version, ["a"])
    made = replace(made, trained_version=trained, judged_version=judged)
    registry.register(write_manifest(folder, made))


def test_model_versions_that_nothing_names_go(settings: Settings) -> None:
    """`m1` made the nights, `champion` was exported from `source`, `newest` is the candidate."""
    give_store(settings)
    for version in ("m1", "source", "old", "older-1-int8", "newest"):
        registered(settings, version, "source" if version == "older-1-int8" else None)
    registry, models = Context.of(settings).registry, Path(settings.warehouse, "models")
    registry.set_alias(CHAMPION, "source")
    curves = Path(settings.warehouse, "tensorboard", "old")
    curves.mkdir(parents=True)
    one = Context.of(settings.model_copy(update={"keep_versions": 1}))
    assert maintain.run(one)["model_versions"] == ["older-1-int8", "old"]
    assert registry.versions() == ["newest", "source", "m1"]
    assert {path.name for path in models.iterdir() if path.is_dir()} == {"newest", "source", "m1"}
    assert not curves.exists()
    registered(settings, "old")  # as a training with the same inputs makes it again
    assert registry.candidate().version == "old"
    assert maintain.run(one)["model_versions"] == ["newest"]


def test_the_source_of_a_version_that_stays_stays(settings: Settings) -> None:
    give_store(settings)
    for version, trained in (("a", None), ("b", None), ("c", None), ("b-1-int8", "b")):
        registered(settings, version, trained)
    one = Context.of(settings.model_copy(update={"keep_versions": 1}))
    assert maintain.run(one)["model_versions"] == ["c", "a"]
    registered(settings, "b-all-1", "b", "b-1-int8")
    registered(settings, "d")
    Context.of(settings).registry.set_alias(CHAMPION, "b-all-1")
    assert maintain.run(one)["model_versions"] == []
    registered(settings, "e")
    Context.of(settings).registry.set_alias(CHAMPION, "d")
    assert set(maintain.run(one)["model_versions"]) == {"b-all-1", "b-1-int8", "b"}


def of_three_versions_one(settings: Settings) -> Context:
    """Register versions a, b and c; return a context that keeps one of them."""
    give_store(settings)
    for version in ("a", "b", "c"):
        registered(settings, version)
    return Context.of(settings.model_copy(update={"keep_versions": 1}))


def test_a_version_that_is_promoted_meanwhile_stays(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    one = of_three_versions_one(settings)
    with ThreadPoolExecutor() as pool, caplog.at_level("INFO"):
        with one.warehouse.lock(CHAMPION):  # as `promote` does
            waiting = pool.submit(maintain.run, one)
            while "holds the lock of champion" not in caplog.text and not waiting.done():
                time.sleep(0.01)
            Context.of(settings).registry.set_alias(CHAMPION, "b")
        assert waiting.result(60)["model_versions"] == ["a"]
    assert one.registry.versions() == ["c", "b"]


def test_a_removal_that_was_killed_is_completed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its parts were done."""
    one = of_three_versions_one(settings)

    def killed(_: object, version: str) -> None:
        raise KeyboardInterrupt(version)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "forget", killed)
        with pytest.raises(KeyboardInterrupt):
            maintain.run(one)
    models = Path(settings.warehouse, "models")
    assert not (models / "b").exists()
    assert maintain.run(one)["model_versions"] == ["b", "a"]
    assert [path.name for path in models.iterdir() if path.is_dir()] == ["c"]


def test_what_killed_trainings_left_goes_when_it_is_old(settings: Settings) -> None:
    models = Path(settings.warehouse, "models")
    for name in ("a.checkpoints", "b.01234567.partial", "c.01234567.damaged", "young.checkpoints"):
        (models / name).mkdir(parents=True)
        (models / name / "file").touch()
        if name != "young.checkpoints":
            for path in (models / name / "file", models / name):
                os.utime(path, (time.time() - 31 * DAY,) * 2)
    assert maintain.run(Context.of(settings))["leftovers"] == 2
    left = {"c.01234567.damaged", "young.checkpoints"}
    assert {path.name for path in models.iterdir() if path.is_dir()} == left
