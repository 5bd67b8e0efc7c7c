"""One commit for a night's files, by the driver, through delta-rs.

- The night's partition is replaced: the files that were collected come, all others go. Other
  nights stay.
- The table's CHECKs have to be those that the tasks have enforced (`jobs.nights.files`).
- What a night was made of travels with the commit, and is read back: it must be the newest.

Trade-off: files are written before anybody knows whether they count. Those of a job that failed
or was killed lie in the night's folder, in no version of the table, until `maintain` takes them.
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

    Raises the InputError that a task raised.
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

    The caller holds the table's lock. Raises InputError where the table has a CHECK that no task
    has looked at.
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
