"""The protocol's known figures, from the packaged ratings in their original order."""

from pathlib import Path

import numpy as np
import pytest

from jobs.sources.film_facts import package_folder
from models.baselines.ease import Ease, EaseRows
from models.baselines.popularity import popularity
from models.data.interactions import Interactions
from models.data.splits import Split, make_split
from models.evaluation.question import ask, judge, of_likes

ITEMS = 1682


def packaged_ratings() -> Path:
    return package_folder("recbole") / "dataset_example" / "ml-100k" / "ml-100k.inter"


@pytest.fixture(scope="module")
def warm() -> Split:
    """MovieLens-100K: users and items in the order of their numbers, rows as they come."""
    user, item, rating, time = np.loadtxt(packaged_ratings(), skiprows=1, unpack=True)
    users = user.astype(np.int64) - 1
    data = Interactions(users, item.astype(np.int64) - 1, rating, time, users.max() + 1, ITEMS)
    return make_split("warm", data, 4.0)


def test_the_parts_have_the_known_sizes(warm: Split) -> None:
    tested = np.unique(warm.test.user)
    assert len(tested) == 938
    assert len(warm.test) == 10_696
    assert np.isin(warm.train.user, tested).sum() == 44_665


def test_the_baselines_have_the_known_figures(warm: Split) -> None:
    question = ask(warm.final, [""] * 943)
    for score, ndcg, recall in (
        (popularity(warm.train), 0.099, 0.104),
        (Ease(EaseRows(warm.train), 100.0).score, 0.205, 0.222),
    ):
        answer = judge(question, of_likes(score, 4.0))
        assert answer.ndcg().mean() == pytest.approx(ndcg, abs=0.002)
        assert answer.hits.recall().mean() == pytest.approx(recall, abs=0.002)
