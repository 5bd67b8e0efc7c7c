"""A Delta table in place of a file: its newest version, whoever writes it.

- Its rows are those of the log, not of the files that lie there: what was deleted stays deleted.
- Its content is known by the table's id and version, so that nothing is read twice for a hash.
- Spark reads it; deltalake, which is quicker to start, says whether it can be read at all.

Trade-off: the whole version is read each time, also where a change feed would say what is new: the
merge compares the rows in any case, and a feed may have been vacuumed.
"""

from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyspark.sql import DataFrame, SparkSession

from jobs.sources.files.parts import LOG
from models.errors import InputError


def is_delta(path: Path) -> bool:
    """Return whether the folder is a Delta table."""
    return (path / LOG).is_dir()


def identity(path: Path) -> str:
    """Return a text that differs where the table does; InputError where it can't be read."""
    table = _opened(path)
    return f"delta {table.metadata().id} {table.version()}"


def read_delta(spark: SparkSession, path: Path) -> DataFrame:
    """Return the newest version, lazily; InputError where it can't be read."""
    version = _opened(path).version()
    return spark.read.format("delta").option("versionAsOf", version).load(str(path.absolute()))


def _opened(path: Path) -> DeltaTable:
    try:
        return DeltaTable(str(path))
    except (DeltaError, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "")
        raise InputError(f"{path} can't be read as a Delta table: {reason}") from error
