"""The Spark session: Delta without the network, quiet, and never another one than asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.settings.model import Settings
from jobs.spark import session as module
from models.errors import InputError
from models.processors import usable_cores


def test_a_table_is_written_and_read_back(spark: SparkSession, tmp_path: Path) -> None:
    folder = str(tmp_path / "table")
    spark.range(3).write.format("delta").save(folder)
    spark.range(3, 5).write.format("delta").mode("append").save(folder)
    rows = spark.read.format("delta").load(folder).orderBy("id").collect()
    assert [row.id for row in rows] == [0, 1, 2, 3, 4]
    first = spark.read.format("delta").option("versionAsOf", 0).load(folder)
    assert first.count() == 3


def test_workers_run_this_python_and_see_the_models(spark: SparkSession) -> None:
    def where(_: object) -> tuple[str, str]:
        from models import errors

        return sys.executable, errors.__name__

    assert spark.sparkContext.parallelize([0], 1).map(where).collect() == [
        (sys.executable, "models.errors")
    ]


def test_times_are_utc_whatever_the_machine_says(spark: SparkSession) -> None:
    row = spark.sql("SELECT timestamp '1998-04-01 00:00:00' AS t, unix_timestamp(t) AS s").first()
    assert row is not None
    assert row.s == 891388800


def test_the_same_session_is_taken_over_and_another_one_refused(spark: SparkSession) -> None:
    settings = Settings(
        spark_master=spark.conf.get("spark.master"),
        spark_memory=spark.conf.get("spark.driver.memory"),
    )
    assert module.open_session(settings, "again") is spark
    other = settings.model_copy(update={"spark_memory": "77g"})
    with pytest.raises(InputError, match=r"spark\.driver\.memory=.* expected 77g"):
        module.open_session(other, "other")


def test_a_session_that_lacks_delta_is_refused(spark: SparkSession) -> None:
    bare = spark.newSession()
    bare.conf.set("spark.sql.catalog.spark_catalog", "another")
    settings = Settings(
        spark_master=spark.conf.get("spark.master"),
        spark_memory=spark.conf.get("spark.driver.memory"),
    )
    with pytest.raises(InputError, match="spark_catalog=another"):
        module._agreeing(bare, settings)


@pytest.mark.parametrize(
    ("master", "expected"),
    [("local", 1), ("local[3]", 3), ("local[4,2]", 4), ("local[*]", None), ("local[*,2]", None)],
)
def test_cores_of_a_local_master(master: str, expected: int | None) -> None:
    assert module.cores(master) == (expected or usable_cores())


def test_missing_jars_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"JARs are missing in .*: run `make setup`"):
        module.delta_jars(tmp_path)


def test_the_archive_of_classes_is_another_one_for_another_java(tmp_path: Path) -> None:
    (tmp_path / "release").write_text('JAVA_VERSION="21.0.1"')
    assert module.class_archive(tmp_path) != module.class_archive(tmp_path / "none")
    assert module.class_archive(tmp_path) == module.class_archive(tmp_path)


SCRIPT = """
from jobs.settings.model import Settings
from jobs.spark.session import open_session

spark = open_session(Settings(spark_master="local[1]", spark_memory="600m"), "quiet")
spark.range(2).write.format("delta").save("{folder}")
print(spark.conf.get("spark.driver.memory"), spark.read.format("delta").load("{folder}").count())
"""


@pytest.mark.spark
def test_a_fresh_session_is_quiet_and_needs_no_network(tmp_path: Path) -> None:
    """No index and no cache can be reached here, and only Java's own unavoidable line is heard."""
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(folder=tmp_path / "table")],
        capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["600m", "2"]
    heard = [line for line in done.stderr.splitlines() if "incubator modules" not in line]
    assert heard == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table"]


@pytest.mark.parametrize("memory", ["1m", "511m", "99999g"])
def test_memory_that_cannot_be_is_refused_by_name(memory: str) -> None:
    with pytest.raises(InputError, match=f"setting `spark_memory`: {memory}, but Spark needs"):
        module._local_options(Settings(spark_memory=memory))


def test_memory_that_can_be_is_handed_on() -> None:
    assert module._local_options(Settings(spark_memory="512m"))["spark.driver.memory"] == "512m"
