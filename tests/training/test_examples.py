"""Training examples: what a step asks about its bucket, and that every bucket has its turn."""

import numpy as np

from models.data.interactions import History, Interactions
from models.objective.examples import Collator, CutHistories, Example, Labels, TrainingSteps

BUCKETS = [np.array([0, 3]), np.array([1, 2]), np.array([4])]
LABELS = Labels(threshold=4.0, mean=3.0, deviation=2.0)
DATA = Interactions(
    np.array([0, 0, 0, 1, 1]),
    np.array([0, 1, 2, 3, 4]),
    np.array([5.0, 1.0, 4.0, 5.0, 2.0]),
    np.arange(5.0),
    2,
    5,
)


def collator() -> Collator:
    return Collator(np.array([10, 11]), LABELS, history_length=3, n_items=5)


def steps(users: int = 2, seed: int = 0) -> TrainingSteps:
    return TrainingSteps(CutHistories(DATA, 4.0), collator(), BUCKETS, users, seed)


def history(items: list[int], values: list[float]) -> History:
    rows = np.array(items, dtype=np.int64)
    return History(rows, np.array(values), np.arange(float(len(items))))


def test_a_step_asks_about_its_bucket_alone() -> None:
    future = history([1, 2, 4], [5.0, 1.0, 4.0])
    ours = Example(1, history([0, 3], [5.0, 2.0]), np.array([1, 4]), future)
    theirs = Example(0, history([2], [4.0]), np.array([3]), history([3], [5.0]))
    batches = {int(bucket[0]): collator()(bucket, [ours, theirs]) for bucket in BUCKETS}
    pairs = batches[1]
    assert pairs["bucket"].tolist() == [1, 2]
    assert pairs["target_users"].tolist() == [0]
    assert pairs["target_places"].tolist() == [0]
    assert pairs["pair_users"].tolist() == [0, 0]
    assert pairs["pair_places"].tolist() == [0, 1]
    assert pairs["labels"].tolist() == [1.0, 0.0]
    assert pairs["values"].tolist() == [1.0, -1.0]
    assert pairs["profiles"].tolist() == [11, 10]
    assert pairs["items"].tolist() == [[3, 0, 5], [2, 5, 5]]
    assert pairs["liked"].tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    assert pairs["taken"][0].tolist() == [True, False, False, False, False]
    assert batches[0]["target_users"].tolist() == [1]
    assert batches[4]["labels"].tolist() == [1.0]


def test_every_bucket_has_its_turn_once_in_a_pass() -> None:
    data, passes = steps(), []
    for epoch in range(6):
        data.set_epoch(epoch)
        passes.append([int(data[step]["bucket"][0]) for step in range(len(data))])
    assert all(sorted(one) == [0, 1, 4] for one in passes)
    assert len({tuple(one) for one in passes}) > 1


def test_a_step_depends_on_seed_pass_and_number_alone() -> None:
    data, again, other = steps(), steps(), steps(seed=1)
    for one in (data, again, other):
        one.set_epoch(3)
    first = [again[2], again[1]][1]
    assert all((data[1][name] == first[name]).all() for name in first)
    orders = [[one[step]["bucket"].tolist() for step in range(3)] for one in (data, other)]
    assert orders[0] != orders[1]


def test_users_are_asked_over_and_over_each_with_a_past_and_a_future() -> None:
    cut = CutHistories(DATA, 4.0)
    assert len(cut) == 1  # user 1 has one positive and so no future
    for seed in range(5):
        example = cut.cut(0, np.random.default_rng(seed))
        assert (example.user, example.targets.tolist()) == (0, [2])
        assert example.past.item.tolist() == [0, 1]
    assert steps(users=7)[0]["profiles"].tolist() == [10] * 7
