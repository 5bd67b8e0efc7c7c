"""Spark's implicit-feedback ALS on a training part: the baseline that people have today.

- Positives become rows (user, item, 1); one partition for each core of the session.
- The factors come back as arrays; users and items without positives have zeros.

Trade-off: needs a JVM, where `models.factors.als` would fit as well: the baseline is what people
run today, down to its random start. `evaluate` starts it only where ALS or what is built on it is
asked for.
"""

from dataclasses import dataclass
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession

from models.baselines.factorisation import SPARK_ALS
from models.data.arrays import Factors
from models.data.interactions import Interactions

CHECKPOINT_ROUNDS = 3


@dataclass(frozen=True)
class AlsFactors:
    """User factors [u, d] and item factors [n, d]."""

    users: Factors
    items: Factors


def implicit_als(spark: SparkSession, train: Interactions, seed: int) -> AlsFactors:
    """Return the factors of ALS fitted on training positives, repeats counted once."""
    pairs = pd.DataFrame({"user": train.user, "item": train.item}, dtype="int32").drop_duplicates()
    ratings = spark.createDataFrame(
        pairs.sort_values(["user", "item"]).assign(rating=np.float32(1))
    )
    blocks = spark.sparkContext.defaultParallelism
    with TemporaryDirectory() as folder:
        # uncut, the lineage of fifteen rounds can overflow the stack of the task serializer
        spark.sparkContext.setCheckpointDir(folder)
        model = _fitted(ratings, blocks, seed)
        return AlsFactors(
            _dense(model.userFactors, train.n_users), _dense(model.itemFactors, train.n_items)
        )


def _fitted(ratings: DataFrame, blocks: int, seed: int) -> ALSModel:
    return ALS(
        rank=SPARK_ALS.rank,
        maxIter=SPARK_ALS.rounds,
        regParam=SPARK_ALS.penalty,
        alpha=SPARK_ALS.confidence,
        implicitPrefs=True,
        numUserBlocks=blocks,
        numItemBlocks=blocks,
        seed=seed,
        checkpointInterval=CHECKPOINT_ROUNDS,
    ).fit(ratings)


def _dense(factors: DataFrame, count: int) -> Factors:
    found = factors.toPandas()
    dense = np.zeros((count, SPARK_ALS.rank), dtype=np.float32)
    dense[found["id"].to_numpy()] = np.stack(found["features"].tolist())
    return dense
