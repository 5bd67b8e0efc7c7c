"""Every night, and after each new champion: the top k of every user, published atomically."""

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from steps import (
    CHAMPION,
    DEFAULTS,
    RECOMMENDATIONS,
    RUN_DATE_FIELD,
    SOURCE_FIELD,
    WRITER_POOL,
    form,
    spark_step,
    step,
)

DOC = """
### nightly

`ingest >> score >> publish`: new ratings in, every user-item pair scored by the champion, the
top k staged, audited, and made visible in one commit.

- **The night** is the field `run_date`, else the date of the run. It knows nothing later than
  that date, so a red task can be cleared, and earlier nights can be backfilled, at any time.
- **A champion that was trained on later days** than the night is refused, unless the field
  `allow_later_model` is set.
- **Two wake-ups:** the clock, and the asset `champion`. An asset event is no fact: `score`
  looks the champion up itself, and a doubled event ends in the same published night.
- **No champion yet:** `score` ends with exit code 2. Run `retrain` first.
- **Back to an earlier night:** `nightrank rollback [--to DATE]`; no DAG run is needed. An earlier
  night that is published again doesn't become visible: the newest one is.
"""

with DAG(
    "nightly",
    description="Score all pairs and publish the night",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 3 * * *", timezone="UTC"), assets=[CHAMPION]
    ),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=form("nightly", source=SOURCE_FIELD, run_date=RUN_DATE_FIELD),
    tags=["nightrank"],
):
    ingest = step(
        "nightly",
        "ingest",
        '"--run-date=$RUN_DATE" -- "$SOURCE"',
        pool=WRITER_POOL,
        execution_timeout=timedelta(hours=1),
    )
    score = spark_step("nightly", "score", pool=WRITER_POOL, execution_timeout=timedelta(hours=4))
    publish = step(
        "nightly",
        "publish",
        '"--run-date=$RUN_DATE"',
        pool=WRITER_POOL,
        outlets=[RECOMMENDATIONS],
        execution_timeout=timedelta(minutes=30),
    )

    ingest >> score >> publish
