"""Spark's ALS as arrays, and the folded-in factors that must equal Spark's own."""

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs.questions.als import implicit_als
from models.baselines.factorisation import FoldedIn
from models.data.interactions import Interactions, histories


def test_two_tastes_are_told_apart_and_folding_in_equals_sparks_users(spark: SparkSession) -> None:
    # even users like even items, odd users odd ones, and user 9 and item 9 stand apart
    pairs = [(u, i) for u in range(8) for i in range(8) if u % 2 == i % 2 and (u + i) % 6]
    user, item = np.array([*pairs, pairs[0]]).T
    train = Interactions(user, item, np.ones(len(user)), np.arange(len(user)) * 1.0, 10, 10)
    factors = implicit_als(spark, train, seed=0)
    folded = FoldedIn(factors.items)
    asked = histories(train, np.arange(10))
    assert folded.users(asked) == pytest.approx(factors.users, abs=1e-5)
    scores = folded.score(asked, [""] * 10)
    assert scores[0, [0, 2, 4, 6]].min() > scores[0, [1, 3, 5, 7]].max()
    assert factors.items[9].tolist() == [0.0] * 32
    assert not scores[9].any()
