"""A Spark session with Delta, made from settings, without the network.

- Local: Java is looked for (`jobs.spark.java`), Delta's JARs come from `.deps/jars`, where `make
  setup` put them, and everything stays on the loopback address.
- Under spark-submit the driver's JVM runs already: its master, memory and class path stay, and
  Delta has to be on it.
- Where the set-up has archived Java's classes, they are mapped instead of loaded one by one.
- A running session is taken over only when it says the same about Delta, master and memory.

Trade-off: the JARs stand on the driver's class path instead of being resolved by Spark's Ivy:
no network and seconds saved, at the price of a class path that is ours to keep.
"""

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

import pyspark
from psutil import swap_memory, virtual_memory
from pyspark.sql import SparkSession

from jobs.settings.model import Settings
from jobs.spark.account import has_name, log_in_without_a_name, prepare_locale
from jobs.spark.java import DEPENDENCIES, java_home
from models.errors import InputError
from models.processors import usable_cores

LEAST_MEMORY_MB = 512  # Spark refuses heaps below 450 MB, of which Java keeps some for itself
LOOPBACK = "127.0.0.1"
JARS = DEPENDENCIES / "jars"
LOG4J = Path(__file__).with_name("log4j2.properties")

DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
ALWAYS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.pyspark.fallback.enabled": "false",
    "spark.python.worker.reuse": "true",
    "spark.ui.showConsoleProgress": "false",
    # Delta rebuilds a table's state in 50 tasks by default: seconds on a small table
    "spark.databricks.delta.snapshotPartitions": "2",
}


def open_session(settings: Settings, app_name: str) -> SparkSession:
    """Return a session with Delta for the job `app_name`.

    Raises InputError when Java or Delta is missing, or when another session is running.
    """
    running = SparkSession.getActiveSession()
    if running is not None:
        return _agreeing(running, settings)
    builder = SparkSession.builder.appName(f"nightrank {app_name}")
    options = {**DELTA, **ALWAYS}
    if not _submitted():
        options |= _local_options(settings)
        java = java_home()
        options["spark.driver.extraJavaOptions"] = _java_options(java)
        _prepare_environment(settings.spark_master, java)
        prepare_locale(os.environ)
        if not has_name(os.getuid()):
            log_in_without_a_name(options)
    for key, value in options.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def delta_jars(folder: Path = JARS) -> list[Path]:
    """Return Delta's JARs, in order of their names.

    Raises InputError when the set-up has not fetched them.
    """
    found = sorted(folder.glob("*.jar"))
    if not found:
        raise InputError(f"Delta's JARs are missing in {folder}: run `make setup`")
    return found


def class_archive(java: Path) -> Path:
    """Return where the archive of the classes stands that fits this class path and `java`."""
    key = hashlib.sha256()
    shipped = Path(pyspark.__file__).parent / "jars"
    for path in [java / "release", *sorted(shipped.glob("*.jar")), *delta_jars()]:
        if path.exists():
            status = path.stat()
            key.update(f"{path} {status.st_size} {int(status.st_mtime)}\n".encode())
    return DEPENDENCIES / f"classes-{key.hexdigest()[:16]}.jsa"


def cores(master: str) -> int:
    """Return the number of tasks that the `master` runs at once: 1 to n for a local one."""
    found = re.fullmatch(r"local(?:\[(\d+|\*)(?:,\d+)?\])?", master)
    if found is None or found[1] == "*":
        return usable_cores()
    return int(found[1] or 1)


def _submitted() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _java_options(java: Path) -> str:
    options = [f"-Dlog4j2.configurationFile={LOG4J.as_uri()}"]
    archive = class_archive(java)
    if archive.exists():
        options += [f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"]
    return " ".join(options)


def _prepare_environment(master: str, java: Path) -> None:
    os.environ["JAVA_HOME"] = str(java)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    if master.startswith("local"):
        os.environ["SPARK_LOCAL_IP"] = LOOPBACK


def _local_options(settings: Settings) -> dict[str, str]:
    master = settings.spark_master
    _refuse_memory(settings.spark_memory)
    jars = [str(path) for path in delta_jars()]
    options = {
        "spark.master": master,
        "spark.driver.memory": settings.spark_memory,
        "spark.driver.extraClassPath": os.pathsep.join(jars),
        "spark.ui.enabled": "false",
        # nothing of ours is stored there, but Spark makes the folder at its first query
        "spark.sql.warehouse.dir": str(Path(tempfile.gettempdir()) / "nightrank-spark-warehouse"),
    }
    if not master.startswith("local"):
        return options | {"spark.jars": ",".join(jars)}
    width = str(cores(master))
    return options | {
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.sql.shuffle.partitions": width,
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": width,
    }


def _refuse_memory(setting: str) -> None:
    """Raise InputError for less memory than Spark starts with, or more than the machine has."""
    megabytes = int(setting[:-1]) * (1024 if setting.endswith("g") else 1)
    there = (virtual_memory().total + swap_memory().total) // 2**20
    if not LEAST_MEMORY_MB <= megabytes <= there:
        raise InputError(
            f"setting `spark_memory`: {setting}, but Spark needs at least {LEAST_MEMORY_MB}m and "
            f"this machine has {there}m"
        )


def _agreeing(running: SparkSession, settings: Settings) -> SparkSession:
    expected = dict(DELTA)
    if not _submitted():
        expected["spark.master"] = settings.spark_master
        expected["spark.driver.memory"] = settings.spark_memory
    for key, value in expected.items():
        found = running.conf.get(key, "")
        if found != value:
            raise InputError(
                f"a Spark session with {key}={found} is running, expected {value}: stop it first"
            )
    return running
