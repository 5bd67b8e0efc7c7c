"""The Spark side of a night: interactions are sorted by user, and tasks write each user's list.

- There is one shuffle, by the hash of the user, so that a retried task gets the same users again.
  Profiles and lists that may be kept go through the same shuffle as rows of their own.
- Partitions are sorted by user, then by time, equal times by `tie_order`, so the order doesn't
  depend on the files of the tables. Tasks cut the rows into users (`jobs.nights.rows`); Spark
  never holds a whole history.
- User-item pairs are never rows, and lists never enter the JVM: the task that ranks them writes
  them to a file (`jobs.nights.files`) and returns one row about that file.
- A task that doesn't rank a user again writes the list that was kept.

Trade-off: item ids are joined to events by a broadcast, which works up to some million items.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
from pyspark import Accumulator, SparkFiles, TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.nights.files import FILES_SCHEMA, Destination, written
from jobs.nights.horizon import Horizon
from jobs.nights.incremental import Kept
from jobs.nights.rows import (
    COLUMNS,
    ENTRY,
    fresh_rows,
    kept_rows,
    read_item_ids,
    users_of,
    whole_users,
)
from jobs.spark.task_counts import Counts
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, RECOMMENDATIONS_STAGED, USERS
from models.data.interactions import tie_order
from models.serving.night import Lists, NightPlan, Users, top_lists

_FILES_IN_SPARK = from_arrow_schema(FILES_SCHEMA)
_USERS_PER_TASK, _TASKS_PER_CORE, _USERS_PER_FILE = 5_000, 8, 50_000


def task_count(users: int, cores: int) -> int:
    """Return the number of tasks, each of which writes a file: enough for all cores and no more.

    A file has the lists of 5,000 to 50,000 users, unless there are fewer users for each core.
    """
    wanted = min(users // _USERS_PER_TASK, cores * _TASKS_PER_CORE)
    return max(cores, wanted, users // _USERS_PER_FILE)


def items_frame(spark: SparkSession, item_ids: Sequence[str]) -> DataFrame:
    """Return item_id, item_row and tie (the order at equal times), for a broadcast join."""
    table = pa.table(
        {
            "item_id": pa.array(item_ids, pa.string()),
            "item_row": pa.array(range(len(item_ids)), pa.int32()),
            "tie": pa.array(tie_order(item_ids), pa.int32()),
        }
    )
    return fn.broadcast(spark.createDataFrame(table))


def user_rows(
    spark: SparkSession,
    warehouse: Warehouse,
    versions: Mapping[str, int],
    items: DataFrame,
    partitions: int,
    known: Horizon | None = None,
    only: DataFrame | None = None,
    kept: DataFrame | None = None,
) -> DataFrame:
    """Return the rows of users, sorted by user, for `jobs.nights.rows.users_of`.

    A row is an event (ts, tie, item_row, value), a profile (text) or an entry of a list of `kept`
    (the columns ENTRY); its other columns are null. Users are those of `interactions` and of
    `users`, as they are `known` on the night where that is given, and limited to `only` (user_id).
    An event whose item isn't in `items` has a user and nothing else.
    """
    events = _table(spark, warehouse, INTERACTIONS, versions)
    if known is not None:
        events = events.where(fn.col("ts") < fn.lit(known.end))
    events = events.join(items, "item_id", "left")
    listed = fn.col("item_row").isNotNull()
    event = [
        fn.when(listed, fn.col(name)).alias(name) for name in ("ts", "tie", "item_row", "value")
    ]
    rows = events.select("user_id", *event, fn.lit(None).cast("string").alias("text"))
    if USERS in versions:
        profiles = _table(spark, warehouse, USERS, versions).select("user_id", "text")
        if known is not None and known.later_users:
            profiles = profiles.join(users_frame(spark, known.later_users), "user_id", "left_anti")
        rows = rows.unionByName(profiles, allowMissingColumns=True)
    if only is not None:
        rows = rows.join(only, "user_id", "left_semi")
    if kept is not None:
        rows = rows.unionByName(kept.select(*ENTRY), allowMissingColumns=True)
    order = ["user_id", "ts", "tie", *(["rank"] if kept is not None else [])]
    return rows.repartition(partitions, "user_id").sortWithinPartitions(*order)


def users_frame(spark: SparkSession, users: Collection[str]) -> DataFrame:
    """Return the user_ids `users`, for a broadcast join."""
    table = pa.table({"user_id": pa.array(sorted(users), pa.string())})
    return fn.broadcast(spark.createDataFrame(table))


def kept_frame(
    spark: SparkSession, warehouse: Warehouse, kept: Kept, scored: DataFrame
) -> DataFrame:
    """Return the rows of the night `kept`, without those of the users `scored`."""
    versions = {RECOMMENDATIONS_STAGED: kept.table_version}
    rows = _table(spark, warehouse, RECOMMENDATIONS_STAGED, versions)
    return rows.where(fn.col("run_date") == fn.lit(kept.night.run_date)).join(
        scored, "user_id", "left_anti"
    )


def plan_lists(plan: NightPlan) -> Callable[[Users], Lists]:
    """Return the function that ranks a batch of users in a task, as `plan` says.

    The folders that `plan` names were sent to the executors.
    """

    def lists(users: Users) -> Lists:
        found = replace(
            plan,
            bundle_folder=SparkFiles.get(plan.bundle_folder),
            night_folder=SparkFiles.get(plan.night_folder),
        )
        return top_lists(found, users)

    return lists


def written_lists(
    rows: DataFrame,
    plan: NightPlan,
    lists: Callable[[Users], Lists],
    to: Destination,
    done: Accumulator[Counts],
) -> DataFrame:
    """Write the lists of the users of `rows`, and return rows about the files, FILES_SCHEMA.

    `rows` are those of `user_rows`. `lists` gets `plan.batch_users` users at a time; the item ids
    are in `plan.night_folder`. A user whom `lists` leaves out gets the list that was kept. `done`
    counts the users seen and scored, and the pairs scored in 32 bits.
    """

    def attempt(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        item_ids = read_item_ids(SparkFiles.get(plan.night_folder))
        seen = scored = examined = 0

        def tables() -> Iterator[pa.Table]:
            nonlocal seen, scored, examined
            for some in whole_users(batches, plan.batch_users):
                users = users_of(some, plan.k)
                found = lists(users)
                yield fresh_rows(users, found, item_ids, to.model_version)
                if len(found.users) < len(users.ids):
                    yield kept_rows(some, users, found, to.model_version)
                seen, scored = seen + len(users.ids), scored + len(found.users)
                examined += found.examined

        yield from written(tables(), to)
        task = TaskContext.get()
        done.add({task.partitionId() if task else 0: (seen, scored, examined)})

    return rows.mapInArrow(attempt, _FILES_IN_SPARK)


def written_rows(rows: DataFrame, to: Destination) -> DataFrame:
    """Write `rows`, which have all columns of a night, and return rows about the files."""

    def attempt(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from written((pa.Table.from_batches([batch]) for batch in batches), to)

    return rows.select(*COLUMNS.names).mapInArrow(attempt, _FILES_IN_SPARK)


def _table(
    spark: SparkSession, warehouse: Warehouse, name: str, versions: Mapping[str, int]
) -> DataFrame:
    reader = spark.read.format("delta").option("versionAsOf", versions[name])
    return reader.load(warehouse.path(name))
