"""Weekly: old nights, small files and what nobody reads any more are removed from the tables."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from steps import DEFAULTS, WRITER_POOL, form, step

DOC = """
### maintain

`maintain`: nights older than the newest `keep_nights` published ones go, small files are joined,
and files are deleted that no version of a table of the last `keep_days` has. Old bad rows, runs and
model versions go as `keep_ingests`, `keep_runs` and `keep_versions` say.

- **The visible night stays**, however old it is. Back to a night that went: no way.
- **It waits its turn** in the pool `delta_writer`, between two nights; readers see no difference.
"""

with DAG(
    "maintain",
    description="Remove old nights and join small files",
    doc_md=DOC,
    schedule=CronTriggerTimetable("0 6 * * 0", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=form("maintain"),
    tags=["nightrank"],
):
    step("maintain", "maintain", pool=WRITER_POOL, execution_timeout=timedelta(hours=4))
