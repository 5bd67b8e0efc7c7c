"""Weekly: a new model version, and the champion when it is no worse than the one before."""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable

from steps import CHAMPION, DEFAULTS, GPU_POOL, SOURCE_FIELD, WRITER_POOL, form, step

DOC = """
### retrain

`ingest >> train >> export >> evaluate >> promote`: new ratings in, a fine-tuned, pruned and
quantised model version out. `promote` asks it and the champion of today the same questions; unless
it is worse, its refit on everything becomes the champion and wakes `nightly`.

- **By hand:** *Trigger* shows a field for each setting. An empty field leaves the setting as
  `nightrank.toml` and the worker's environment have it; a value counts for this run alone.
- **A red task** can be cleared: every step is safe to run again. After exit code 2 (bad usage
  or bad input) there is no second try: the last line of the log says what to mend.
- **A red `promote`** may say that the gate refused a worse version: the champion stays.
- **Pools:** `gpu` (1) keeps two trainings apart, `delta_writer` (1) two writers of tables.
"""

with DAG(
    "retrain",
    description="Train, compress and judge a new model version",
    doc_md=DOC,
    schedule=CronTriggerTimetable("0 1 * * 0", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=form("retrain", source=SOURCE_FIELD),
    tags=["nightrank"],
):
    ingest = step(
        "retrain",
        "ingest",
        '"--run-date=$RUN_DATE" -- "$SOURCE"',
        pool=WRITER_POOL,
        execution_timeout=timedelta(hours=1),
    )
    train = step("retrain", "train", pool=GPU_POOL, execution_timeout=timedelta(hours=12))
    export = step("retrain", "export", pool=GPU_POOL, execution_timeout=timedelta(hours=2))
    evaluate = step("retrain", "evaluate", pool=GPU_POOL, execution_timeout=timedelta(hours=2))
    promote = step("retrain", "promote", outlets=[CHAMPION], execution_timeout=timedelta(hours=2))

    ingest >> train >> export >> evaluate >> promote
