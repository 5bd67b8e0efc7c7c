"""The contenders of `make bench` that run on Spark: nightrank's job, ALS, and a plain write.

- `spark_job` is the whole scoring job: interactions are read from Delta, sorted by user and ranked
  in the tasks without the items seen; the tasks write files, which are committed to Delta. Only the
  user tower is left out: user vectors come from a file, as for every contender, and all rows have
  the same reason.
- `spark_als` is `recommendForAllUsers` of an ALS model with the same vectors, written to Parquet.
- `spark_write` writes the same number of ready-made rows to Delta.

A builder starts Spark, makes the inputs and warms up on a few users; none of that is timed.
"""

import datetime as dt
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import Accumulator
from pyspark.ml.recommendation import ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.bench.peers import DIM, SEEN, K, Race, Run
from jobs.nights.commit import collected, commit_night
from jobs.nights.files import Destination
from jobs.nights.frame import items_frame, task_count, user_rows, written_lists
from jobs.nights.rows import write_item_ids
from jobs.settings.model import Settings
from jobs.spark.session import open_session
from jobs.spark.task_counts import Counts, TaskCounts
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, RECOMMENDATIONS_STAGED, TABLES
from models.data.arrays import Factors
from models.serving.night import Lists, NightPlan, Users, block_items
from models.serving.ranker import Ranker

_WARM_USERS = 500
_NIGHT = dt.date(2026, 1, 5)
_SETTINGS = Settings(k=K)


def spark_job(race: Race) -> Run:
    """From interactions in Delta to the night's rows in Delta."""
    session, folder = _started(race, "job")
    users, items = race.vectors()
    np.save(folder / "users.npy", users)
    np.save(folder / "items.npy", items)
    warehouse = Warehouse(str(folder / "warehouse"))
    interactions = _interactions(race)
    part = -(-len(interactions) // race.threads)
    for start in range(0, len(interactions), part):  # a file for each core, as `ingest` leaves them
        warehouse.append(INTERACTIONS, interactions.slice(start, part))
    versions = {INTERACTIONS: warehouse.version(INTERACTIONS)}
    warehouse.create(RECOMMENDATIONS_STAGED)
    names = _names("i", race.items)
    write_item_ids(folder, names)
    items_of_night = items_frame(session, names)
    done: Accumulator[Counts] = session.sparkContext.accumulator({}, TaskCounts())
    plan = _plan(folder)
    lists = _lists(plan)
    to = Destination(warehouse.path(RECOMMENDATIONS_STAGED), _NIGHT, "bench")

    def run(limit: int = race.users) -> None:
        tasks = task_count(limit, session.sparkContext.defaultParallelism)
        rows = user_rows(session, warehouse, versions, items_of_night, tasks)
        some = rows.where(fn.substring("user_id", 2, 9).cast("int") < limit)
        chosen = rows if limit == race.users else some
        files = written_lists(chosen, plan, lists, to, done)
        commit_night(warehouse, _NIGHT, collected(files), "bench")

    run(min(_WARM_USERS, race.users))
    return run


def spark_write(race: Race) -> Run:
    """Write race.users x K rows of the same columns, made by Spark from numbers, to Delta."""
    session, folder = _started(race, "write")
    warehouse = Warehouse(str(folder / "warehouse"))
    warehouse.create(RECOMMENDATIONS_STAGED)

    def run(limit: int = race.users) -> None:
        tasks = task_count(limit, session.sparkContext.defaultParallelism)
        number = fn.col("id")
        values = {
            "run_date": fn.lit(_NIGHT),
            "user_id": fn.concat(fn.lit("u"), (number / K).cast("int").cast("string")),
            "rank": (number % K + 1).cast("int"),
            "item_id": fn.concat(fn.lit("i"), (number * 7919 % race.items).cast("string")),
            "score": fn.rand(0).cast("float"),
            "model_version": fn.lit("bench"),
            "reason": fn.concat(fn.lit('like "'), (number % SEEN).cast("string"), fn.lit('"')),
            "reason_items": fn.array(*(fn.lit(f"i{one}") for one in range(3))),
        }
        rows = session.range(0, limit * K, 1, tasks)
        _committed(rows.select(*(value.alias(name) for name, value in values.items())), warehouse)

    run(min(_WARM_USERS, race.users))
    return run


def spark_als(race: Race) -> Run:
    """Rank by ALS's `recommendForAllUsers`, and write to Parquet."""
    _, folder = _started(race, "als")
    users, items = race.vectors()
    few = _als_model(folder / "few", users[:_WARM_USERS], items[:_WARM_USERS])
    _written(few.recommendForAllUsers(K), folder / "warm")
    model = _als_model(folder / "model", users, items)

    def run() -> None:
        _written(model.recommendForAllUsers(K), folder / "lists")

    return run


def _started(race: Race, name: str) -> tuple[SparkSession, Path]:
    settings = _SETTINGS.model_copy(update={"spark_master": f"local[{race.threads}]"})
    return open_session(settings, f"bench {name}"), Path(mkdtemp(prefix=f"nightrank-bench-{name}-"))


def _names(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


def _interactions(race: Race) -> pa.Table:
    rows = race.users * SEEN
    users, items = (np.array(_names(*side)) for side in (("u", race.users), ("i", race.items)))
    table = {
        "user_id": pa.array(np.repeat(users, SEEN)),
        "item_id": pa.array(items[race.seen().ravel()]),
        "value": pa.array(np.full(rows, 5.0)),
        "ts": pa.array(np.arange(rows) * 1_000_000, pa.timestamp("us", tz="UTC")),
        "ingest_id": pa.array(["bench"] * rows),
    }
    return pa.table(table).select(TABLES[INTERACTIONS].column_names)


def _plan(folder: Path) -> NightPlan:
    batch = _SETTINGS.score_batch_users
    return NightPlan(
        bundle_folder=str(folder),
        night_folder=str(folder),
        version="bench",
        k=K,
        batch_users=batch,
        block_items=block_items(_SETTINGS.score_memory_mb, batch),
        clock=0.0,
        threads=1,
        device="cpu",
    )


def _lists(plan: NightPlan) -> Callable[[Users], Lists]:
    def lists(users: Users) -> Lists:
        ranker, factors = _opened(plan)
        mine = factors[[int(user[1:]) for user in users.ids]]
        scores, rows = ranker.top_k(mine, [history.item for history in users.histories], K)
        return Lists(
            users=np.arange(len(rows)),
            lengths=np.full(len(rows), K),
            items=rows.ravel(),
            scores=scores.ravel(),
            reasons=np.zeros(rows.size, dtype=np.int64),
            words=['like "i1"'],
            reason_items=np.tile(np.arange(3), (rows.size, 1)),
        )

    return lists


@lru_cache(maxsize=1)
def _opened(plan: NightPlan) -> tuple[Ranker, Factors]:
    folder = Path(plan.night_folder)
    users, items = (np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("users", "items"))
    everything = np.ones(len(items), dtype=np.bool_)
    ranker = Ranker(
        folder / "none", items, everything, plan.batch_users, plan.block_items, plan.threads
    )
    return ranker, users


def _als_model(folder: Path, users: Factors, items: Factors) -> ALSModel:
    """Return a model with these vectors; it is written as Spark saves one, and loaded."""
    (folder / "metadata").mkdir(parents=True)
    metadata = {
        "class": "org.apache.spark.ml.recommendation.ALSModel",
        "timestamp": 0,
        "sparkVersion": "4.2.0",
        "uid": "bench",
        "paramMap": {"userCol": "user", "itemCol": "item"},
        "defaultParamMap": {"predictionCol": "prediction", "coldStartStrategy": "nan"},
        "rank": DIM,
    }
    (folder / "metadata" / "part-00000").write_text(json.dumps(metadata), "utf-8")
    for name, factors in (("userFactors", users), ("itemFactors", items)):
        (folder / name).mkdir()
        rows = pa.array(range(len(factors)), pa.int32())
        flat = pa.FixedSizeListArray.from_arrays(pa.array(factors.ravel()), DIM)
        table = pa.table({"id": rows, "features": flat.cast(pa.list_(pa.float32()))})
        pq.write_table(table, folder / name / "part-0.parquet")
    return ALSModel.load(str(folder))


def _committed(rows: DataFrame, warehouse: Warehouse) -> None:
    writer = rows.write.format("delta").mode("overwrite")
    writer = writer.option("replaceWhere", f"run_date = '{_NIGHT}'")
    writer.save(warehouse.path(RECOMMENDATIONS_STAGED))


def _written(frame: DataFrame, path: Path) -> None:
    frame.write.mode("overwrite").parquet(str(path))
