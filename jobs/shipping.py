"""What executors on other machines are sent: the model and the night's arrays.

- A folder is an archive that Spark unpacks once for each machine.

On this machine workers share the driver's files, and nothing is packed.

Trade-off: every night sends the model again.
"""

from pathlib import Path
from shutil import make_archive

from pyspark import SparkContext
from pyspark.sql import SparkSession


def shipped(spark: SparkSession, folder: Path, scratch: Path, name: str) -> str:
    """Return the path by which a worker's `SparkFiles.get` finds `folder`.

    On this machine that is the folder itself, and all workers share its pages; on a cluster every
    machine is sent it once, as the archive `name`, which is packed in `scratch`.
    """
    if _is_local(spark.sparkContext):
        return str(folder.absolute())
    archive = make_archive(str(scratch / name), "zip", folder)
    spark.sparkContext.addArchive(f"{archive}#{name}")
    return name


def _is_local(context: SparkContext) -> bool:
    master = str(context.master)
    return master.startswith("local") and not master.startswith("local-cluster")
