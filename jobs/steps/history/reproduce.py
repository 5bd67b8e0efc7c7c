"""Reproduce a published night from its lineage, and prove that it is equal, value by value.

- What it was made of (versions of model and tables, k, when users were asked) stands in the commit
  that published it. It is computed once more (`jobs.nights.recomputation`), whatever was ingested
  or promoted since, and compared with the rows that readers have.
- Nothing is written but vectors of texts that had to be encoded again.

Trade-off: it needs the versions of the tables, which `maintain` keeps for `keep_days`, and `forget`
for nobody: then it says what is gone.
"""

import datetime as dt
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from jobs.context import Context
from jobs.nights.recomputation import recomputed
from jobs.nights.rows import COLUMNS
from jobs.nights.staged import StagedNight, parse_night, staged_by
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import SUCCEEDED
from jobs.warehouse.tables import RECOMMENDATIONS, RUNS
from models.errors import InputError
from models.serving.bundle import RANKER, open_bundle
from models.serving.night import usable_device


def run(context: Context, date: str) -> dict[str, Any]:
    """Compute the night `date` again and compare it with what was published.

    Raises InputError where it can't be computed any more, or where a row differs, which it names.
    """
    start = time.monotonic()
    warehouse, run_date = context.warehouse, parse_night(date, "DATE")
    warehouse.tables()  # tells where there is no warehouse at all
    published = _published(warehouse, run_date)
    night = _made_of(warehouse, run_date)
    bundle = open_bundle(context.registry.folder_of(night.model_version))
    device = usable_device(bundle.path(RANKER), context.settings.device)
    with tempfile.TemporaryDirectory() as folder:
        try:
            parts = list(recomputed(warehouse, bundle, night, Path(folder), device))
        except (FileNotFoundError, duckdb.Error, InputError) as error:
            raise InputError(_why_not(warehouse, night, error)) from error
    found = _in_order(pa.concat_tables([COLUMNS.empty_table(), *parts]))
    _refuse_difference(published, found, run_date)
    return {
        "reproduced_night": str(run_date),
        "model_version": night.model_version,
        "rows": found.num_rows,
        "inputs": night.inputs,
        "equal": True,
        "seconds": round(time.monotonic() - start, 2),
    }


def _published(warehouse: Warehouse, run_date: dt.date) -> pa.Table:
    if run_date not in warehouse.nights(RECOMMENDATIONS):
        raise InputError(
            f"night {run_date} has no rows in `{RECOMMENDATIONS}`: it wasn't published, or "
            "`maintain` has removed it"
        )
    rows = warehouse.dataset(RECOMMENDATIONS).to_table(filter=ds.field("run_date") == run_date)
    return _in_order(rows.select(COLUMNS.names).cast(COLUMNS))


def _in_order(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("user_id", "ascending"), ("rank", "ascending")]).combine_chunks()


def _made_of(warehouse: Warehouse, run_date: dt.date) -> StagedNight:
    """Return what the night was made of when it was published last."""
    for commit in DeltaTable(warehouse.path(RECOMMENDATIONS)).history():
        night = staged_by(commit.get("userMetadata"))
        if night is not None and night.run_date == run_date:
            return night
    raise InputError(
        f"night {run_date} can't be reproduced: the log of `{RECOMMENDATIONS}` doesn't say any "
        "more what it was made of"
    )


def _why_not(warehouse: Warehouse, night: StagedNight, error: Exception) -> str:
    runs = warehouse.read(RUNS, columns=["step", "run_date", "status", "sequence"]).to_pylist()
    done = [row for row in runs if row["status"] == SUCCEEDED and row["sequence"] is not None]
    published = [
        row for row in done if (row["step"], row["run_date"]) == ("publish", night.run_date)
    ]
    since = max((row["sequence"] for row in published), default=0)
    why = "`maintain` has removed a version of a table that it was made of"
    if any(row["step"] == "forget" and row["sequence"] > since for row in done):
        why = "somebody was forgotten since it was published"
    elif isinstance(error, InputError):
        why = str(error)
    return f"night {night.run_date} can't be reproduced: {why}"


def _refuse_difference(published: pa.Table, found: pa.Table, run_date: dt.date) -> None:
    if published.equals(found):
        return
    ours, theirs = published.to_pylist(), found.to_pylist()
    pairs = zip(ours, theirs, strict=False)
    differing = [(one, other) for one, other in pairs if one != other]
    named = ""
    if differing:
        one, other = differing[0]
        column = next(name for name in COLUMNS.names if one[name] != other[name])
        named = (
            f"; the first is user {one['user_id']!r}, rank {one['rank']}: {column} "
            f"{one[column]!r} was published, {other[column]!r} is computed"
        )
    raise InputError(
        f"night {run_date} is not reproduced: {len(differing)} of {len(ours)} rows differ, and "
        f"{len(theirs)} rows are computed{named}"
    )
