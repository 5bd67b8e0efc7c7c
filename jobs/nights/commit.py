"""The driver commits all files of a night at once, through delta-rs.

- The commit replaces the night's partition by the files that the tasks have written. Other nights
  stay as they are.
- It is refused where the table has a CHECK that the tasks don't enforce (`jobs.nights.files`).
- The commit's metadata say from what the night was scored. They are read back, to be sure that
  this commit is the newest.

Trade-off: files are written before the commit that makes them part of the table. Those of a job
that failed or was killed stay in the night's folder until `maintain` deletes them.
"""

import datetime as dt
import re
from collections.abc import Sequence

from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row

from jobs.nights.files import CHECKS
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import RECOMMENDATIONS_STAGED, TABLES
from models.errors import InputError

_REFUSAL = re.compile(r"^models\.errors\.InputError: (.*)$", re.MULTILINE)
_CHECK = "delta.constraints."


def collected(files: DataFrame) -> list[Row]:
    """Run the job and return its rows about files, FILES_SCHEMA.

    Raises InputError where a task has raised one.
    """
    try:
        return files.collect()
    except PySparkException as error:
        refusal = _REFUSAL.search(str(error))
        if refusal is None:
            raise
        raise InputError(refusal[1]) from error


def commit_night(
    warehouse: Warehouse, run_date: dt.date, files: Sequence[Row], metadata: str
) -> int:
    """Replace the night `run_date` of the staged table by `files`; return the table's version.

    The caller holds the table's lock. Raises InputError where the table has a CHECK that the tasks
    don't enforce.
    """
    path = warehouse.path(RECOMMENDATIONS_STAGED)
    table = DeltaTable(path)
    _refuse_unknown_checks(table)
    night = run_date.isoformat()
    [partition] = TABLES[RECOMMENDATIONS_STAGED].partition_by
    table.create_write_transaction(
        [
            AddAction(f.path, f.bytes, {partition: night}, f.modified, True, f.stats)
            for f in sorted(files, key=lambda file: str(file.path))
        ],
        mode="overwrite",
        schema=table.schema(),
        partition_by=[partition],
        partition_filters=[(partition, "=", night)],
        commit_properties=CommitProperties(custom_metadata={"userMetadata": metadata}),
    )
    commit = DeltaTable(path).history(1)[0]
    if commit.get("userMetadata") != metadata:
        raise RuntimeError(f"night {night}: another writer's commit came after ours")
    return int(commit["version"])


def _refuse_unknown_checks(table: DeltaTable) -> None:
    checks = TABLES[RECOMMENDATIONS_STAGED].checks
    enforced = {name: checks[name] for name in CHECKS}
    for key, text in table.metadata().configuration.items():
        name = key.removeprefix(_CHECK)
        if key.startswith(_CHECK) and enforced.get(name) != text:
            raise InputError(
                f"table `{RECOMMENDATIONS_STAGED}` has the CHECK {name} ({text}), which `nightrank "
                "score` doesn't enforce: drop it"
            )
