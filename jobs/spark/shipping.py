"""What executors on other machines are sent: the project's code, the model, the night's arrays.

- The code is a zip of `jobs` and `models` on the executors' Python path, so that they need the
  packages of docs/scale.md and no nightrank; what it says is what the driver runs.
- A folder is an archive that Spark unpacks once for each machine.

On this machine workers share the driver's files, and nothing is packed.

Trade-off: about 30 modules travel that no executor imports; choosing among them would be another
list to keep.
"""

from pathlib import Path
from shutil import make_archive
from zipfile import ZipFile

from pyspark import SparkContext
from pyspark.sql import SparkSession

import jobs
import models

_CODE = "nightrank.zip"


def ship_code(spark: SparkSession, scratch: Path) -> None:
    """Put `jobs` and `models` on the Python path of the executors; the zip lies in `scratch`.

    A driver that runs from a zip itself got it by `--py-files`, and so did the executors.
    """
    packages = [Path(str(package.__file__)).parent for package in (jobs, models)]
    if _is_local(spark.sparkContext) or not all(map(Path.is_dir, packages)):
        return
    with ZipFile(scratch / _CODE, "w") as code:
        for package in packages:
            for module in sorted(package.rglob("*.py")):
                code.write(module, module.relative_to(package.parent))
    spark.sparkContext.addPyFile(str(scratch / _CODE))


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
