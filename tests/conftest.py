"""One Spark session and one ingested slice of MovieLens-100K for all tests, and their markers.

`make test-fast` leaves out what is marked `spark`, `airflow`, `training` or `chaos`. A test that
asks for a fixture below is marked by itself; a module that starts Spark, Airflow or a training by
other means says so in its `pytestmark`. What the fast tests don't need is imported within the
fixtures.
"""

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from jobs.settings.model import Settings
    from jobs.warehouse.delta import Warehouse

USERS, ITEMS = 60, 300  # the slice: the first so many, by number
MARKER_OF_FIXTURE = {"spark": "spark", "tiny_encoder": "training"}
LONGEST_FIRST = ("airflow", "training", "spark")
MODULE_MARKERS = re.compile(r"^pytestmark = .*$", flags=re.MULTILINE)

# no test is timed: what takes 30 ms alone takes 400 beside a training
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the fixtures that it asks for, also through other fixtures."""
    for item in items:
        for fixture in MARKER_OF_FIXTURE.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKER_OF_FIXTURE[fixture])
    _put_long_files_first(items)


def _put_long_files_first(items: list[pytest.Item]) -> None:
    """Sort whole files by markers and size: else one of two processes ends long after the other."""
    place: dict[Path, int] = {}
    for item in items:
        marked = [at for at, name in enumerate(LONGEST_FIRST) if item.get_closest_marker(name)]
        known = place.get(item.path, len(LONGEST_FIRST))
        place[item.path] = min([known, *marked])
    size = {path: path.stat().st_size for path in place}
    items.sort(key=lambda item: (place[item.path], -size[item.path], item.path))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Don't import a module whose `pytestmark` is deselected: its imports may take seconds."""
    if collection_path.suffix != ".py":
        return None
    line = MODULE_MARKERS.search(collection_path.read_text("utf-8"))
    marked = re.findall(r"pytest\.mark\.(\w+)", line[0]) if line else []
    left_out = any(f"not {marker}" in config.option.markexpr for marker in marked)
    return True if left_out else None


@pytest.fixture(autouse=True)
def _spark_starts_in_marked_tests_alone(request: pytest.FixtureRequest) -> Iterator[None]:
    before = _spark_runs()
    yield
    if _spark_runs() and not before and request.node.get_closest_marker("spark") is None:
        pytest.fail("this test starts Spark: mark it `spark`, or ask for the fixture")


def _spark_runs() -> bool:
    pyspark = sys.modules.get("pyspark")
    return pyspark is not None and pyspark.SparkContext._active_spark_context is not None


@pytest.fixture(scope="session")
def spark() -> "Iterator[SparkSession]":
    """The session that every step takes over: its settings are the defaults."""
    from jobs.settings.model import Settings
    from jobs.spark.session import open_session

    running = open_session(Settings(), "tests")
    yield running
    gateway = running.sparkContext._gateway
    running.stop()
    if gateway is not None:  # or the JVM would end as a warning about an open process
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(60)


@pytest.fixture
def warehouse(tmp_path: Path) -> "Warehouse":
    """A warehouse that does not exist yet."""
    from jobs.warehouse.delta import Warehouse

    return Warehouse(str(tmp_path / "warehouse"))


@pytest.fixture(scope="session")
def movielens_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder source: ratings, films, people and links of the first users and items."""
    from jobs.sources.film_facts import package_folder
    from jobs.sources.movielens import MovieLens100k

    folder = tmp_path_factory.mktemp("source")
    source = package_folder("recbole") / "dataset_example" / "ml-100k"
    _copy_rows(
        source / "ml-100k.inter",
        folder / "slice.inter",
        lambda row: int(row[0]) <= USERS and int(row[1]) <= ITEMS,
    )
    _copy_rows(source / "ml-100k.link", folder / "slice.link", lambda row: int(row[0]) <= ITEMS)
    described = MovieLens100k()
    for name, key, last, rows in (
        ("items", "item_id", ITEMS, described.films()),
        ("users", "user_id", USERS, described.people()),
    ):
        lines = [json.dumps(row) for row in rows if int(row[key]) <= last]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="session")
def ingested(
    spark: "SparkSession", movielens_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The warehouse of the ingested slice; never write to it: take `movielens` instead."""
    from version_store import give_store

    from jobs.context import Context
    from jobs.settings.model import Settings
    from jobs.steps import ingest

    root = tmp_path_factory.mktemp("ingested") / "warehouse"
    settings = Settings(warehouse=str(root))
    ingest.run(Context.of(settings), str(movielens_folder))
    give_store(settings)
    return root


@pytest.fixture
def movielens(ingested: Path, tmp_path: Path) -> "Settings":
    """Settings of a test's own copy of the ingested slice."""
    from jobs.settings.model import Settings

    root = tmp_path / "movielens"
    shutil.copytree(ingested, root)
    return Settings(warehouse=str(root))


def _copy_rows(source: Path, target: Path, wanted: Callable[[list[str]], bool]) -> None:
    with source.open(newline="") as read, target.open("w", newline="") as write:
        rows = csv.reader(read, delimiter="\t", quoting=csv.QUOTE_NONE)
        writer = csv.writer(write, delimiter="\t", lineterminator="\n")
        writer.writerow(next(rows))
        writer.writerows(row for row in rows if wanted(row))


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a BERT with MiniLM's vocabulary, two small layers and no dropout."""
    from small_encoder import write_small_encoder

    return str(write_small_encoder(tmp_path_factory.mktemp("tiny") / "encoder"))
