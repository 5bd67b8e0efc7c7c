"""The Spark side of a night: interactions to histories, lists to rows of `recommendations`.

- One shuffle, by the hash of the user, so that a retried task sees the same users again; profiles
  travel in the same shuffle as interactions.
- Histories stand oldest first, equal times by `tie_order`, whatever files the tables lie in.
- Pairs never exist: a user's list leaves the pandas UDF as arrays and is spread out by the JVM.
- A list that may be kept travels beside its user, and takes the place of the one that the UDF
  leaves out: no second pass tells who was scored.

Trade-off: the item ids are joined to rows by broadcast, right up to some million items.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

import pandas as pd
import pyarrow as pa
from pyspark import Accumulator, SparkFiles, TaskContext
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.pandas.functions import pandas_udf

from jobs.incremental import Kept
from jobs.tables import INTERACTIONS, RECOMMENDATIONS, RECOMMENDATIONS_STAGED, TABLES, USERS
from jobs.task_counts import Counts
from jobs.warehouse import Warehouse
from models.dataset import tie_order
from models.night import LISTS_SCHEMA, NightPlan, Users, top_lists

_USERS_PER_TASK, _TASKS_PER_CORE, _USERS_PER_FILE = 5_000, 8, 50_000
_EVENT = "struct<ts: timestamp, tie: int, item_row: int, value: double>"
_LIST = "array<struct<item_rows: int, scores: float, reasons: string>>"


def tasks(users: int, cores: int) -> int:
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


def histories(
    spark: SparkSession,
    warehouse: Warehouse,
    versions: Mapping[str, int],
    items: DataFrame,
    partitions: int,
    only: DataFrame | None = None,
) -> DataFrame:
    """Return one row a user: user_id, events (array of ts, item_row, value) and profile text.

    Users are those of interactions and of `users`, and of `only` (user_id) where it is given; an
    event whose item isn't in `items` is left out.
    """
    event = fn.struct("ts", "tie", "item_row", "value").cast(_EVENT)
    rows = (
        _table(spark, warehouse, INTERACTIONS, versions)
        .join(items, "item_id", "left")
        .select(
            "user_id",
            fn.when(fn.col("item_row").isNotNull(), event).alias("event"),
            fn.lit(None).cast("string").alias("text"),
        )
    )
    if USERS in versions:
        profiles = _table(spark, warehouse, USERS, versions)
        rows = rows.union(profiles.select("user_id", fn.lit(None).cast(_EVENT), "text"))
    if only is not None:
        rows = rows.join(only, "user_id", "left_semi")
    return (
        rows.repartition(partitions, "user_id")
        .groupBy("user_id")
        .agg(
            fn.sort_array(fn.collect_list("event")).alias("events"),
            fn.coalesce(fn.first("text", ignorenulls=True), fn.lit("")).alias("text"),
        )
    )


def recommendations(
    users: DataFrame,
    items: DataFrame,
    lists: Callable[..., Column],
    run_date: date,
    version: str,
    kept: DataFrame | None = None,
) -> DataFrame:
    """Return the rows of `recommendations` for the night, from `histories` and the UDF `lists`.

    Where the UDF gives no list, that of `kept` stands, which is of the form of `kept_by_user`.
    """
    if kept is not None:
        users = users.join(kept, "user_id", "left")
    else:
        nothing = fn.lit(None)
        users = users.withColumns({"kept": nothing.cast(_LIST), "floor": nothing.cast("float")})
    seen = fn.col("events")
    times = fn.transform(seen, lambda event: event["ts"].cast("double"))
    told = ("user_id", seen["item_row"], seen["value"], times, "text", "floor")
    scored = users.select("user_id", "kept", lists(*told).alias("lists"))
    fresh = fn.arrays_zip("lists.item_rows", "lists.scores", "lists.reasons")
    spread = scored.select("user_id", fn.posexplode(fn.coalesce(fresh, "kept")))
    columns = {
        "run_date": fn.lit(run_date),
        "user_id": fn.col("user_id"),
        "rank": fn.col("pos") + 1,
        "item_id": fn.col("item_id"),
        "score": fn.col("col.scores"),
        "model_version": fn.lit(version),
        "reason": fn.col("col.reasons"),
    }
    return spread.join(items, fn.col("col.item_rows") == fn.col("item_row")).select(
        *(columns[name].alias(name) for name in TABLES[RECOMMENDATIONS].column_names)
    )


def users_frame(spark: SparkSession, users: Collection[str]) -> DataFrame:
    """Return the user_ids `users`, ready for a broadcast join."""
    table = pa.table({"user_id": pa.array(sorted(users), pa.string())})
    return fn.broadcast(spark.createDataFrame(table))


def kept_rows(
    spark: SparkSession, warehouse: Warehouse, kept: Kept, scored: DataFrame, run_date: date
) -> DataFrame:
    """Return the rows of the night `kept` as those of `run_date`, but those of users `scored`."""
    versions = {RECOMMENDATIONS_STAGED: kept.table_version}
    rows = _table(spark, warehouse, RECOMMENDATIONS_STAGED, versions)
    return (
        rows.where(fn.col("run_date") == fn.lit(kept.night.run_date))
        .join(scored, "user_id", "left_anti")
        .withColumn("run_date", fn.lit(run_date))
        .select(*TABLES[RECOMMENDATIONS].column_names)
    )


def kept_by_user(rows: DataFrame, items: DataFrame, k: int, partitions: int) -> DataFrame:
    """Return one row a user: user_id, `kept` (the list of `kept_rows`) and its k-th score, `floor`.

    `floor` is null where the list is shorter than `k`.
    """
    entry = fn.struct(
        "rank",
        fn.col("item_row").alias("item_rows"),
        fn.col("score").alias("scores"),
        fn.col("reason").alias("reasons"),
    )
    ranked = (
        rows.join(items, "item_id")
        .select("user_id", entry.alias("entry"))
        .repartition(partitions, "user_id")
        .groupBy("user_id")
        .agg(fn.sort_array(fn.collect_list("entry")).alias("entries"))
    )
    full = fn.size("entries") == k
    return ranked.select(
        "user_id",
        fn.transform("entries", lambda one: one.dropFields("rank")).alias("kept"),
        fn.when(full, fn.element_at("entries", -1)["scores"]).alias("floor"),
    )


def lists_udf(plan: NightPlan, done: Accumulator[Counts]) -> Callable[..., Column]:
    """Return the iterator pandas UDF that turns users into lists and counts them in `done`."""

    def lists(batches: Iterator[Users]) -> Iterator[pd.DataFrame]:
        found = replace(
            plan,
            bundle_folder=SparkFiles.get(plan.bundle_folder),
            night_folder=SparkFiles.get(plan.night_folder),
        )
        users = scored = 0
        for frame in top_lists(found, batches):
            users += len(frame)
            scored += int(frame["item_rows"].notna().sum())
            yield frame
        task = TaskContext.get()
        done.add({task.partitionId() if task else 0: (users, scored)})

    # the stubs know no iterator of tuples that yields frames; Spark does
    udf: Callable[..., Column] = pandas_udf(lists, returnType=LISTS_SCHEMA)  # type: ignore[call-overload]
    return udf


def _table(
    spark: SparkSession, warehouse: Warehouse, name: str, versions: Mapping[str, int]
) -> DataFrame:
    reader = spark.read.format("delta").option("versionAsOf", versions[name])
    return reader.load(warehouse.path(name))
