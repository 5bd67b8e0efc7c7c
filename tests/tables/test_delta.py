"""The warehouse: tables with their checks, versions, locks, and two processes at one commit."""

import datetime as dt
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError
from pyspark.sql import SparkSession

from jobs.spark.session import delta_jars
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, RECOMMENDATIONS, TABLES, TRIPLES
from models.errors import InputError

MOMENT = dt.datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)


def interaction(value: float | None, user: str = "a") -> pa.Table:
    row = {"user_id": user, "item_id": "x", "value": value, "ts": MOMENT, "ingest_id": "i"}
    return pa.Table.from_pylist([row], schema=TABLES[INTERACTIONS].arrow_schema)


def test_rows_come_back_as_they_went_in(warehouse: Warehouse) -> None:
    user = 'O\'Neil "x"\n\r\n\t\N{PILE OF POO}'
    warehouse.append(INTERACTIONS, interaction(1.5, user))
    first = warehouse.version(INTERACTIONS)
    warehouse.append(INTERACTIONS, interaction(2.5))
    assert warehouse.read(INTERACTIONS, first).to_pylist() == interaction(1.5, user).to_pylist()
    assert sorted(warehouse.read(INTERACTIONS, columns=["value"])["value"].to_pylist()) == [
        1.5,
        2.5,
    ]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_plain_delta(warehouse: Warehouse, name: str) -> None:
    with warehouse.lock(name):
        warehouse.create(name)
        warehouse.create(name)  # a second time changes nothing
    made = warehouse._open(name, None)
    assert made.protocol().min_reader_version == 1
    assert made.protocol().min_writer_version <= 4
    assert made.metadata().partition_columns == list(TABLES[name].partition_by)
    assert warehouse.read(name).schema == TABLES[name].arrow_schema


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_value_that_is_no_number_is_refused_by_the_table(
    warehouse: Warehouse, spark: SparkSession, value: float | None
) -> None:
    with warehouse.lock(INTERACTIONS):
        warehouse.create(INTERACTIONS)
    bad = interaction(value) if value is not None else interaction(0.0).set_column(
        2, "value", pa.array([None], pa.float64())
    )  # fmt: skip
    with pytest.raises(DeltaError):
        write_deltalake(warehouse.path(INTERACTIONS), bad, mode="append")
    literal = "null" if value is None else "double('nan')"
    with pytest.raises(Exception, match=r"DELTA_(NOT_NULL|VIOLATE)_CONSTRAINT"):
        spark.sql(
            f"INSERT INTO delta.`{warehouse.path(INTERACTIONS)}` VALUES "
            f"('a', 'x', {literal}, timestamp'2020-01-01', 'i')"
        )
    assert warehouse.read(INTERACTIONS).num_rows == 0


def test_an_absent_table_or_version_is_named(warehouse: Warehouse) -> None:
    with pytest.raises(InputError, match=r"table `triples` not found under .*nightrank ingest"):
        warehouse.read(TRIPLES)
    with warehouse.lock(TRIPLES):
        warehouse.create(TRIPLES)
    with pytest.raises(InputError, match=r"`triples` under .* has no version 7"):
        warehouse.read(TRIPLES, 7)


@pytest.mark.parametrize("below", ["file", "file/warehouse", "/proc/nightrank/warehouse"])
def test_a_warehouse_that_cannot_be_written_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way")
    root = str(tmp_path / below)
    with pytest.raises(InputError, match=f"warehouse {root} can't be written"):
        Warehouse(root).ensure_writable()
    with pytest.raises(InputError, match=f"warehouse {root} can't be written"):
        Warehouse(root).append(INTERACTIONS, interaction(1.0))


def test_asking_whether_it_can_be_written_makes_nothing(warehouse: Warehouse) -> None:
    warehouse.ensure_writable()
    assert not Path(warehouse.root).exists()


def test_an_object_store_keeps_its_uri() -> None:
    assert (
        Warehouse("s3://bucket/lake/").path(RECOMMENDATIONS) == "s3://bucket/lake/recommendations"
    )
    assert Warehouse("file:///data/lake").root == "/data/lake"
    with pytest.raises(InputError, match="local warehouse, got s3://bucket"):
        _ = Warehouse("s3://bucket").models_folder


def _add_one(root: str, counter: Path, times: int) -> None:
    for _ in range(times):
        with Warehouse(root).lock(TRIPLES):
            counter.write_text(str(int(counter.read_text()) + 1))


def test_the_lock_excludes_processes(warehouse: Warehouse, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    start = multiprocessing.get_context("spawn")
    workers = [start.Process(target=_add_one, args=(warehouse.root, counter, 200)) for _ in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter.read_text() == "400"


# Delta's own log store, as every Spark process uses it, in a process of its own: commits version 0
# with what comes through a pipe, and prints whether it believes to have made it.
COMMITTER = """
import sys
from pyspark.conf import SparkConf
from pyspark.java_gateway import launch_gateway
from test_delta import commit

gateway = launch_gateway(SparkConf().set("spark.driver.extraClassPath", sys.argv[1]))
print(commit(gateway.jvm, *sys.argv[2:]))
gateway.shutdown()
"""


def commit(jvm: Any, root: str, name: str, pipe: str) -> bool:
    """Commit version 0 of the table `name`; False when it is there already.

    The log store looks whether the version is there, reads what to write, and renames. The pipe
    holds it up in between, so that both processes look before either renames. The file system is
    Hadoop's own: Hive's, which Spark prefers where it has Hive, looks again before it renames,
    which narrows the gap (some commits of 1,500 lost in a race) without closing it.
    """
    configuration = jvm.org.apache.hadoop.conf.Configuration()
    configuration.set("fs.file.impl", "org.apache.hadoop.fs.LocalFileSystem")
    configuration.set("fs.file.impl.disable.cache", "true")
    store = jvm.io.delta.storage.LocalLogStore(configuration)
    path = jvm.org.apache.hadoop.fs.Path(f"{root}/{name}/_delta_log/{0:020d}.json")
    lines = jvm.java.nio.file.Files.lines(jvm.java.io.File(pipe).toPath()).iterator()
    Path(f"{pipe}.open").touch()
    with Warehouse(root).lock(name) if name == "locked" else nullcontext():
        try:
            store.write(path, lines, False, configuration)
        except Exception as error:
            if "FileAlreadyExists" not in str(error):
                raise
            return False
    return True


@pytest.mark.parametrize(("name", "believed"), [("free", 2), ("locked", 1)])
def test_two_processes_lose_a_commit_but_for_the_lock(
    spark: SparkSession, tmp_path: Path, name: str, believed: int
) -> None:
    log = tmp_path / name / "_delta_log"
    log.mkdir(parents=True)
    for pipe in ("here", "there"):
        os.mkfifo(tmp_path / pipe)
    feeds = [(tmp_path / pipe).open("r+b", buffering=0) for pipe in ("here", "there")]
    arguments = [str(tmp_path), name]
    command = [sys.executable, "-c", COMMITTER, ":".join(map(str, delta_jars())), *arguments]
    there = subprocess.Popen(
        [*command, str(tmp_path / "there")],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    with ThreadPoolExecutor() as pool:
        here = pool.submit(commit, spark._jvm, *arguments, str(tmp_path / "here"))
        # with the lock one writes, and the other waits at its door
        while len(list(tmp_path.glob("*.open"))) < 2 or len(list(log.glob("*.tmp"))) < believed:
            time.sleep(0.01)
        for feed in feeds:
            feed.write(b"{}\n")
            feed.close()
        made = [str(here.result(60)), there.communicate(timeout=60)[0].strip()]
    assert made.count("True") == believed
    assert len(list(log.glob("*.json"))) == 1
