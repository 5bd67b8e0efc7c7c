"""The Spark side of a night: interactions to users, one after another, users to files of lists.

- One shuffle, by the hash of the user, so that a retried task sees the same users again; profiles
  and lists that may be kept travel in it too, as rows of their own.
- A partition is sorted, oldest event first, equal times by `tie_order`, whatever files the tables
  lie in. Tasks cut it into users (`jobs.nights.rows`): Spark never holds a history as a whole.
- Pairs never exist, and lists never enter the JVM: the task that makes them writes them to a file
  (`jobs.nights.files`), and one row about the file is all that comes back.
- A list that may be kept is written where the ranker leaves it out: no second pass tells who was
  scored.

Trade-off: the item ids are joined to events by broadcast, right up to some million items.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
from pyspark import Accumulator, SparkFiles, TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.nights.files import FILES_SCHEMA, Destination, written
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

_USERS_PER_TASK, _TASKS_PER_CORE, _USERS_PER_FILE = 5_000, 8, 50_000


def task_count(users: int, cores: int) -> int:
    """Return the number of tasks, which is that of files: all cores busy, no file too large."""
    wanted = min(users // _USERS_PER_TASK, cores * _TASKS_PER_CORE)
    return max(cores, wanted, users // _USERS_PER_FILE)


def items_frame(spark: SparkSession, item_ids: Sequence[str]) -> DataFrame:
    """Return item_id, item_row and the item's place in a tie, ready for a broadcast join."""
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
    only: DataFrame | None = None,
    kept: DataFrame | None = None,
) -> DataFrame:
    """Return the rows of users, one user after another, for `jobs.nights.rows.users_of`.

    A row is an event (ts, tie, item_row, value), a profile (text) or an entry of a list of `kept`
    (rank, item_id, score, reason), and null in what the others have. Users are those of
    interactions and of `users`, and of `only` (user_id) where it is given; an event whose item
    isn't in `items` is null but for its user.
    """
    events = _table(spark, warehouse, INTERACTIONS, versions).join(items, "item_id", "left")
    known = fn.col("item_row").isNotNull()
    event = [
        fn.when(known, fn.col(name)).alias(name) for name in ("ts", "tie", "item_row", "value")
    ]
    rows = events.select("user_id", *event, fn.lit(None).cast("string").alias("text"))
    if USERS in versions:
        profiles = _table(spark, warehouse, USERS, versions).select("user_id", "text")
        rows = rows.unionByName(profiles, allowMissingColumns=True)
    if only is not None:
        rows = rows.join(only, "user_id", "left_semi")
    if kept is not None:
        rows = rows.unionByName(kept.select(*ENTRY), allowMissingColumns=True)
    order = ["user_id", "ts", "tie", *(["rank"] if kept is not None else [])]
    return rows.repartition(partitions, "user_id").sortWithinPartitions(*order)


def users_frame(spark: SparkSession, users: Collection[str]) -> DataFrame:
    """Return the user_ids `users`, ready for a broadcast join."""
    table = pa.table({"user_id": pa.array(sorted(users), pa.string())})
    return fn.broadcast(spark.createDataFrame(table))


def kept_frame(
    spark: SparkSession, warehouse: Warehouse, kept: Kept, scored: DataFrame
) -> DataFrame:
    """Return the rows of the night `kept`, but those of users `scored`."""
    versions = {RECOMMENDATIONS_STAGED: kept.table_version}
    rows = _table(spark, warehouse, RECOMMENDATIONS_STAGED, versions)
    return rows.where(fn.col("run_date") == fn.lit(kept.night.run_date)).join(
        scored, "user_id", "left_anti"
    )


def plan_lists(plan: NightPlan) -> Callable[[Users], Lists]:
    """Return what a task does with a batch of users, by `plan`, whose folders were shipped."""

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
    """Return rows about files, FILES_SCHEMA: the lists of the users of `rows`.

    `rows` are those of `user_rows`; `lists` gets as many users at a time as `plan` says, in whose
    `night_folder` the item ids are. A list that may be kept stands for who is not among what
    `lists` returns. Users are counted in `done`.
    """

    def attempt(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        item_ids = read_item_ids(SparkFiles.get(plan.night_folder))
        seen = scored = 0

        def tables() -> Iterator[pa.Table]:
            nonlocal seen, scored
            for some in whole_users(batches, plan.batch_users):
                users = users_of(some, plan.k)
                found = lists(users)
                yield fresh_rows(users, found, item_ids, to.model_version)
                if len(found.users) < len(users.ids):
                    yield kept_rows(some, users, found, to.model_version)
                seen, scored = seen + len(users.ids), scored + len(found.users)

        yield from written(tables(), to)
        task = TaskContext.get()
        done.add({task.partitionId() if task else 0: (seen, scored)})

    return rows.mapInArrow(attempt, FILES_SCHEMA)


def written_rows(rows: DataFrame, to: Destination) -> DataFrame:
    """Return rows about files, FILES_SCHEMA: `rows`, which have all columns of a night's."""

    def attempt(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from written((pa.Table.from_batches([batch]) for batch in batches), to)

    return rows.select(*COLUMNS.names).mapInArrow(attempt, FILES_SCHEMA)


def _table(
    spark: SparkSession, warehouse: Warehouse, name: str, versions: Mapping[str, int]
) -> DataFrame:
    reader = spark.read.format("delta").option("versionAsOf", versions[name])
    return reader.load(warehouse.path(name))
