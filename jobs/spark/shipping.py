"""What executors on other machines are sent: the project's code, the model, the night's arrays.

- The code is a zip of `jobs` and `models` on the executors' Python path. They need the packages
  that docs/scale.md names, not nightrank, and run the same code as the driver.
- A folder is sent as an archive, which Spark unpacks once on each machine.

With a local master the workers share the driver's files, and nothing is packed.

Trade-off: modules that no executor imports travel too; choosing among them would be another list
to keep.
"""

from pathlib import Path
from shutil import make_archive
from types import ModuleType
from zipfile import ZipFile

from pyspark import SparkContext
from pyspark.sql import SparkSession

import jobs
import models

_CODE = "nightrank.zip"


def ship_code(spark: SparkSession, scratch: Path) -> None:
    """Put `jobs` and `models` on the Python path of the executors; the zip lies in `scratch`.

    A driver that itself runs from a zip got it by `--py-files`, and so did the executors.
    """
    in_folders = all(_folder(package).is_dir() for package in (jobs, models))
    if in_folders and not _is_local(spark.sparkContext):
        spark.sparkContext.addPyFile(str(write_code(scratch / _CODE)))


def write_code(target: Path) -> Path:
    """Write every module of `jobs` and `models` to the zip `target`, and return it."""
    with ZipFile(target, "w") as code:
        for package in (jobs, models):
            folder = _folder(package)
            for module in sorted(folder.rglob("*.py")):
                code.write(module, module.relative_to(folder.parent))
    return target


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


def _folder(package: ModuleType) -> Path:
    return Path(str(package.__file__)).parent


def _is_local(context: SparkContext) -> bool:
    master = str(context.master)
    return master.startswith("local") and not master.startswith("local-cluster")
