"""The score step on real Spark, Delta and ONNX: exact lists, odd ids, kills, readers meanwhile."""

import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import toy_version
from plain_reasons import what_else_adds, what_items_add
from pyspark.sql import SparkSession
from staging import ingested as tiny
from version_store import give_store

from jobs import cli
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.spark.session import delta_jars
from jobs.steps import publish, score, sql
from jobs.versions.registry import CHAMPION
from jobs.warehouse.dataset import read_catalogue
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import recorded
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, RUNS, TABLES, USERS
from models.data.interactions import History, tie_order
from models.data.texts import item_texts
from models.errors import InputError
from models.serving.bundle import HISTORY_FACTORS, Bundle, open_bundle, write_manifest
from models.serving.history_encoder import blocks_in
from models.serving.text_vectors import TextVectors
from models.serving.user_encoder import (
    NIGHT_HISTORY_FACTORS,
    NIGHT_ITEM_FACTORS,
    NIGHT_OWN,
    UserEncoder,
    build_night,
)

NIGHT = "2026-01-05"
CLOCK = dt.datetime.fromisoformat(f"{NIGHT}T00:00:00+00:00").timestamp()
ODD = "o'dd\n\"😀"
OLD = dt.datetime(1998, 1, 1, tzinfo=dt.UTC)

Lists = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def champion(ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The slice of MovieLens, some odd users, an unavailable item, and a toy champion."""
    root = tmp_path_factory.mktemp("score") / "warehouse"
    shutil.copytree(ingested, root)
    settings = Settings(warehouse=str(root))
    warehouse = Warehouse(settings.warehouse)
    items = warehouse.read(ITEMS).to_pylist()
    gone = {**items[0], "item_id": "gone", "title": "Gone", "available": False, "features": None}
    add(warehouse, ITEMS, [gone])
    add(warehouse, USERS, [{"user_id": "new", "text": "student", "attributes": []}])
    ids = [item["item_id"] for item in items]
    odd = [(ODD, ids[0]), (ODD, ids[1]), *(("glutton", item) for item in ids[3:])]
    event = {"value": 5.0, "ts": OLD, "ingest_id": "odd"}
    add(warehouse, INTERACTIONS, [{**event, "user_id": u, "item_id": i} for u, i in odd])
    toy_version.champion(settings, sorted(ids)[:250])  # the other items have but their text
    return settings


@pytest.fixture(scope="module")
def night(champion: Settings, spark: SparkSession) -> dict[str, Any]:
    return score.run(Context.of(champion), NIGHT)


def add(warehouse: Warehouse, name: str, rows: list[dict[str, Any]]) -> None:
    warehouse.append(name, pa.Table.from_pylist(rows, schema=TABLES[name].arrow_schema))


def copied(settings: Settings, folder: Path, **changes: Any) -> Settings:
    shutil.copytree(settings.warehouse, folder / "copy")
    return settings.model_copy(update={"warehouse": str(folder / "copy"), **changes})


def champion_of(settings: Settings) -> Bundle:
    [folder] = (Path(settings.warehouse) / "models").glob("toy-*")
    return open_bundle(folder)


def staged(settings: Settings, run_date: str = NIGHT) -> Lists:
    """Return the staged rows of a night by user, in order of rank."""
    found: Lists = defaultdict(list)
    for row in Warehouse(settings.warehouse).read(RECOMMENDATIONS_STAGED).to_pylist():
        if row["run_date"] == dt.date.fromisoformat(run_date):
            found[row["user_id"]].append(row)
    return {user: sorted(rows, key=lambda row: row["rank"]) for user, rows in found.items()}


def by_brute_force(
    settings: Settings, folder: Path, k: int, clock: float | None
) -> tuple[Lists, dict[str, set[str]]]:
    """Return each user's list and seen items in float64 numpy, from the tables, without Spark."""
    warehouse = Warehouse(settings.warehouse)
    catalogue = read_catalogue(warehouse, warehouse.version(ITEMS))
    rows = {item: row for row, item in enumerate(catalogue.item_ids)}
    ties = tie_order(catalogue.item_ids)
    events: dict[str, list[tuple[float, int, int, float]]] = defaultdict(list)
    for event in warehouse.read(INTERACTIONS).to_pylist():
        row, seconds = rows[event["item_id"]], event["ts"].timestamp()
        events[event["user_id"]].append((seconds, int(ties[row]), row, event["value"]))
    profiles = {row["user_id"]: row["text"] for row in warehouse.read(USERS).to_pylist()}
    bundle = champion_of(settings)
    vectors = TextVectors(bundle.encoder, 1).encode(item_texts(catalogue))
    build_night(bundle, catalogue, vectors, folder, 1)
    tower = UserEncoder(bundle.folder, folder, clock, 1)
    items = np.load(folder / NIGHT_ITEM_FACTORS).astype(np.float64)
    lists: Lists = {}
    for user in events.keys() | profiles.keys():
        past = sorted(events[user])
        times, seen, values = (np.array([event[c] for event in past]) for c in (0, 2, 3))
        history = History(seen.astype(np.int64), values, times)
        vector = tower.encode([history], [profiles.get(user, "")])[0]
        scores = items @ vector.astype(np.float64)
        scores[~catalogue.available] = -np.inf
        scores[history.item] = -np.inf
        best = [row for row in np.argsort(-scores, kind="stable")[:k] if scores[row] > -np.inf]
        lists[user] = [
            {"item_id": catalogue.item_ids[r], "score": scores[r], "row": r, "user": vector,
             "history": history}
            for r in best
        ]  # fmt: skip
    seen_items = {u: {catalogue.item_ids[e[2]] for e in past} for u, past in events.items()}
    return lists, seen_items


def assert_equal_lists(found: Lists, expected: Lists) -> None:
    """Same users, same scores up to float32's rounding, same items wherever that tells them."""
    assert found.keys() == expected.keys()
    for user, rows in found.items():
        exact = np.array([row["score"] for row in expected[user]])
        assert [row["rank"] for row in rows] == list(range(1, len(exact) + 1))
        np.testing.assert_allclose([row["score"] for row in rows], exact, rtol=1e-4, atol=1e-5)
        if len(exact) > 1 and np.diff(exact).max() > -1e-4:
            continue  # a near tie: rounding may swap the two
        assert [r["item_id"] for r in rows] == [r["item_id"] for r in expected[user]], user


def test_every_list_equals_an_independent_brute_force(
    champion: Settings, night: dict[str, Any], tmp_path: Path
) -> None:
    expected, seen = by_brute_force(champion, tmp_path, 10, CLOCK)
    found = staged(champion)
    assert_equal_lists(found, expected)
    for user, rows in found.items():
        assert not {row["item_id"] for row in rows} & (seen.get(user, set()) | {"gone"})
        assert len(rows) == (3 if user == "glutton" else 10)
    assert night["users"] == len(expected) == 63
    assert night["rows"] == sum(map(len, expected.values())) == 623


def test_users_may_be_asked_right_after_their_last_visit(
    champion: Settings, night: dict[str, Any], tmp_path: Path
) -> None:
    settings = copied(champion, tmp_path, asked="last_visit")
    score.run(Context.of(settings), NIGHT)
    expected, _ = by_brute_force(settings, tmp_path / "night", 10, None)
    assert_equal_lists(staged(settings), expected)
    assert staged(settings) != staged(champion)


def test_odd_users_and_reasons(champion: Settings, night: dict[str, Any]) -> None:
    found = staged(champion)
    assert {row["reason"] for row in found["new"]} <= {"profile", "popular", "popular lately",
                                                       "text", "attributes"}  # fmt: skip
    assert all(row["reason_items"] == [] for row in found["new"])
    seen = [r["item_id"] for r in Warehouse(champion.warehouse).read(INTERACTIONS).to_pylist()
            if r["user_id"] == ODD]  # fmt: skip
    assert {item for row in found[ODD] for item in row["reason_items"]} <= set(seen)


@pytest.mark.parametrize("asked", ["night", "last_visit"])
def test_every_reason_is_the_largest_contributor_by_brute_force(
    champion: Settings, night: dict[str, Any], tmp_path: Path, asked: str
) -> None:
    """Of items with factors of their own; tests/serving has those that have but a text."""
    settings, clock = champion, CLOCK if asked == "night" else None
    if asked != "night":
        settings = copied(champion, tmp_path, asked=asked)
        score.run(Context.of(settings), NIGHT)
    expected, _ = by_brute_force(settings, tmp_path / "night", 10, clock)
    catalogue = read_catalogue(Warehouse(settings.warehouse), 1)
    items, flat, own = (
        np.load(tmp_path / "night" / name)
        for name in (NIGHT_ITEM_FACTORS, NIGHT_HISTORY_FACTORS, NIGHT_OWN)
    )
    history = np.hstack(blocks_in(flat, toy_version.BLOCKS))
    manifest = champion_of(settings).manifest
    pairs = [
        (row, entry)
        for user, rows in staged(settings).items()
        for row, entry in zip(rows, expected[user], strict=True)
        if row["item_id"] == entry["item_id"] and own[entry["row"]]
    ]
    right = 0
    for row, entry in pairs:
        args = entry["user"], items[entry["row"]]
        by_items = what_items_add(manifest, entry["history"], *args, history)
        titles = {f'like "{catalogue.titles[r]}"': add for r, add in by_items.items()}
        adds = titles | what_else_adds(*args, toy_version.HISTORY)
        right += adds[row["reason"]] >= max(adds.values()) - 1e-4
        best = sorted(by_items, key=by_items.__getitem__, reverse=True)[:3]
        named = [catalogue.item_ids[r] for r in best if by_items[r] > 1e-6]
        if len({round(by_items[r], 4) for r in best}) == len(best):
            assert row["reason_items"] == named
    assert len(pairs) > 300
    # right after a visit, some items of a history add most and say what others say already
    assert right >= {"night": 0.99, "last_visit": 0.9}[asked] * len(pairs)


def test_the_result_and_the_run_say_what_was_done(
    champion: Settings, night: dict[str, Any]
) -> None:
    assert night["staged_night"] == NIGHT
    assert (night["model_version"], night["device"]) == ("toy-0", "cpu")
    assert night["pairs_per_second"] > 0
    [run] = [
        r for r in Warehouse(champion.warehouse).read(RUNS).to_pylist() if r["step"] == "score"
    ]
    assert (run["status"], run["model_version"], str(run["run_date"])) == (
        "succeeded",
        "toy-0",
        NIGHT,
    )
    assert dict(run["rows"]) == {
        RECOMMENDATIONS_STAGED: 623,
        "users": 63,
        "users_scored": 63,
        "k": 10,
    }
    assert dict(run["inputs"]).keys() == {INTERACTIONS, ITEMS, USERS}


def test_the_same_date_twice_is_the_same_table_and_other_nights_stay(
    champion: Settings, night: dict[str, Any], tmp_path: Path
) -> None:
    settings = copied(champion, tmp_path)
    before = staged(settings)
    score.run(Context.of(settings), "2026-01-06")
    narrow = settings.model_copy(update={"score_batch_users": 7, "score_memory_mb": 1})
    assert score.run(Context.of(narrow), NIGHT)["table_version"] == night["table_version"] + 2
    again = staged(settings)
    assert_equal_lists(again, before)
    score.run(Context.of(settings), NIGHT)
    assert staged(settings) == before
    assert staged(settings, "2026-01-06").keys() == before.keys()


def test_publishing_the_scored_night_passes_the_audit(
    champion: Settings, night: dict[str, Any], tmp_path: Path
) -> None:
    settings = copied(champion, tmp_path)
    assert publish.run(Context.of(settings), NIGHT)["rows"] == night["rows"]
    assert sql.run(Context.of(settings), "SELECT count(*) FROM recommendations_named")["rows"] == [
        [623]
    ]


def test_a_score_that_waited_takes_the_newest_tables_and_champion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused by its date once it holds the lock; the failed run says what it had pinned."""
    settings = tiny(tmp_path)
    give_store(settings)
    context, warehouse = Context.of(settings), Warehouse(settings.warehouse)
    for version in ("new", "old"):
        folder = context.registry.folder_of(version)
        folder.mkdir(parents=True)
        context.registry.register(write_manifest(folder, toy_version.manifest(version, ["a"])))
    context.registry.set_alias(CHAMPION, "old")
    with recorded(warehouse, "ingest"):
        pass
    with ThreadPoolExecutor() as pool, caplog.at_level("INFO"):
        with warehouse.lock(RECOMMENDATIONS_STAGED):
            waiting = pool.submit(score.run, Context.of(settings), "2025-01-05")
            while "waiting for another process" not in caplog.text and not waiting.done():
                time.sleep(0.01)
            warehouse.append(USERS, warehouse.read(USERS))
            context.registry.set_alias(CHAMPION, "new")
        with pytest.raises(InputError, match="2025-01-05"):
            waiting.result(60)
    [run] = [row for row in warehouse.read(RUNS).to_pylist() if row["step"] == "score"]
    assert run["model_version"] == "new"
    assert dict(run["inputs"])[USERS] == warehouse.version(USERS)


def test_no_champion_yet(movielens: Settings) -> None:
    with pytest.raises(InputError, match="no champion yet: run `nightrank promote`"):
        score.run(Context.of(movielens))
    assert not Warehouse(movielens.warehouse).exists(RECOMMENDATIONS_STAGED)


def test_a_vector_that_is_no_number_is_refused_by_name(champion: Settings, tmp_path: Path) -> None:
    settings = copied(champion, tmp_path)
    bundle = champion_of(settings)
    factors = np.array(bundle.array(HISTORY_FACTORS))
    factors[:] = np.nan
    np.save(bundle.folder / HISTORY_FACTORS, factors)
    Context.of(settings).registry.register(write_manifest(bundle.folder, bundle.manifest))
    before = Warehouse(settings.warehouse).version(RECOMMENDATIONS_STAGED)
    with pytest.raises(InputError, match=r"user_factors, row \d+, id '.*': holds NaN or infinity"):
        score.run(Context.of(settings), NIGHT)
    assert Warehouse(settings.warehouse).version(RECOMMENDATIONS_STAGED) == before


def test_a_night_without_any_row_is_refused(champion: Settings, tmp_path: Path) -> None:
    settings = copied(champion, tmp_path)
    warehouse = Warehouse(settings.warehouse)
    users = set(warehouse.read(USERS)["user_id"].to_pylist())
    users |= set(warehouse.read(INTERACTIONS)["user_id"].to_pylist())
    event = {"value": 1.0, "ts": OLD, "ingest_id": "all"}
    items = warehouse.read(ITEMS)["item_id"].to_pylist()
    seen = [{**event, "user_id": user, "item_id": item} for user in users for item in items]
    add(warehouse, INTERACTIONS, seen)
    before = warehouse.nights(RECOMMENDATIONS_STAGED)
    with pytest.raises(InputError, match="night 2026-01-07 would have no rows: each of the"):
        score.run(Context.of(settings), "2026-01-07")
    assert warehouse.nights(RECOMMENDATIONS_STAGED) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run-date", "5.1.2026"], "--run-date '5.1.2026': expected a date as YYYY-MM-DD"),
        (["--k", "0"], "setting `k` from flag: Input should be greater than or equal to 1"),
        (["--device", "tpu"], "setting `device` from flag"),
        (["--score-memory-mb", "much"], "setting `score_memory_mb` from flag"),
        (["--warehouse", "/proc/nowhere"], "`interactions` not found under /proc/nowhere"),
    ],
)
def test_bad_usage_exits_with_2_and_one_line(
    movielens: Settings, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["score", "--warehouse", movielens.warehouse, *arguments])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert message in line


@pytest.mark.skipif(any(Path("/dev").glob("nvidia*")), reason="this machine has a GPU")
def test_cuda_that_is_not_there_is_refused(champion: Settings, spark: SparkSession) -> None:
    with pytest.raises(InputError, match="setting `device`: cuda was asked for"):
        score.run(Context.of(champion.model_copy(update={"device": "cuda"})), NIGHT)


def test_workers_load_neither_torch_nor_transformers() -> None:
    heavy = "{'torch', 'transformers', 'optimum', 'pyspark', 'mlflow', 'deltalake', 'duckdb'}"
    code = f"import sys, jobs.nights.files; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@contextmanager
def reader(settings: Settings) -> Iterator[set[tuple[Any, ...]]]:
    """Read the published night over and over, and collect what a reader ever saw."""
    seen: set[tuple[Any, ...]] = set()
    query = """SELECT min(run_date)::text, max(run_date)::text, count(*), count(DISTINCT user_id)
               FROM recommendations_named"""
    over = threading.Event()

    def read() -> None:
        while not over.wait(0.05):
            seen.add(tuple(sql.run(Context.of(settings), query)["rows"][0]))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def killed_midway(settings: Settings, night: str) -> None:
    """Start `nightrank score` and kill it as soon as its first file of the night appears."""
    command = [sys.executable, "-m", "jobs.cli", "score", "--run-date", night]
    flags = ["--warehouse", settings.warehouse, "--score-batch-users", "1"]
    process = subprocess.Popen([*command, *flags], stderr=subprocess.DEVNULL)
    files = Path(settings.warehouse) / RECOMMENDATIONS_STAGED / f"run_date={night}"
    while not list(files.glob("*.parquet")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def submitted(settings: Settings, night: str) -> None:
    """Run the step as an application of spark-submit, in a process of its own."""
    jars = [str(jar) for jar in delta_jars()]
    submit = shutil.which("spark-submit", path=str(Path(sys.executable).parent))
    assert submit is not None
    subprocess.run(
        [
            submit, "--master", "local[2]", "--jars", ",".join(jars),
            "--driver-class-path", os.pathsep.join(jars), cli.__file__, "score",
            "--run-date", night, "--warehouse", settings.warehouse,
        ],
        check=True, capture_output=True, timeout=400, cwd="/",
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
    )  # fmt: skip


@pytest.mark.timeout(900)  # three cold Java machines
def test_a_killed_night_leaves_nothing_and_the_next_run_gives_the_same_rows(
    champion: Settings, night: dict[str, Any], tmp_path: Path
) -> None:
    settings, later = copied(champion, tmp_path), "2026-01-06"
    warehouse = Warehouse(settings.warehouse)
    publish.run(Context.of(settings), NIGHT)
    version = warehouse.version(RECOMMENDATIONS_STAGED)
    with reader(settings) as seen:
        killed_midway(settings, later)
        assert warehouse.version(RECOMMENDATIONS_STAGED) == version
        with pytest.raises(InputError, match=f"night {later} isn't staged"):
            publish.run(Context.of(settings), later)
        submitted(settings, later)
        after_the_kill = staged(settings, later)
        publish.run(Context.of(settings), later)
        deadline = time.monotonic() + 30.0
        while all(last != later for _, last, *_ in seen) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert seen == {(date, date, 623, 63) for date in (NIGHT, later)}
    score.run(Context.of(settings), later)  # undisturbed, in a session that has run before
    assert staged(settings, later) == after_the_kill
