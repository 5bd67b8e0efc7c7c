"""Training examples: what a step asks about its bucket, and that every bucket has its turn."""

import numpy as np
import torch

from models.dataset import History, Interactions
from models.examples import Collator, CutHistories, Example, Labels

BUCKETS = [np.array([0, 3]), np.array([1, 2]), np.array([4])]
LABELS = Labels(threshold=4.0, mean=3.0, deviation=2.0)


def collator() -> Collator:
    return Collator(BUCKETS, np.array([10, 11]), LABELS, history_length=3, n_items=5)


def history(items: list[int], values: list[float]) -> History:
    rows = np.array(items, dtype=np.int64)
    return History(rows, np.array(values), np.arange(float(len(items))))


def test_a_step_asks_about_its_bucket_alone() -> None:
    future = history([1, 2, 4], [5.0, 1.0, 4.0])
    ours = Example(1, history([0, 3], [5.0, 2.0]), np.array([1, 4]), future)
    theirs = Example(0, history([2], [4.0]), np.array([3]), history([3], [5.0]))
    collate, batches = collator(), {}
    for _ in BUCKETS:
        batch = collate([ours, theirs])
        batches[int(batch["bucket"][0])] = batch
    pairs = batches[1]
    assert pairs["bucket"].tolist() == [1, 2]
    assert pairs["target_users"].tolist() == [0]
    assert pairs["target_places"].tolist() == [0]
    assert pairs["pair_users"].tolist() == [0, 0]
    assert pairs["pair_places"].tolist() == [0, 1]
    assert pairs["labels"].tolist() == [1.0, 0.0]
    assert pairs["values"].tolist() == [1.0, -1.0]
    assert pairs["profiles"].tolist() == [11, 10]
    assert pairs["items"].tolist() == [[0, 5, 5], [2, 5, 5]]
    assert pairs["taken"][0].tolist() == [True, False, False, False, False]
    assert batches[0]["target_users"].tolist() == [1]
    assert batches[4]["labels"].tolist() == [1.0]


def test_every_bucket_has_its_turn_once_in_a_pass() -> None:
    torch.manual_seed(0)
    collate, example = collator(), Example(0, history([], []), np.array([3]), history([3], [5.0]))
    passes = [[int(collate([example])["bucket"][0]) for _ in BUCKETS] for _ in range(6)]
    assert all(sorted(one) == [0, 1, 4] for one in passes)
    assert len({tuple(one) for one in passes}) > 1


def test_an_epoch_asks_users_over_and_over_each_with_a_past_and_a_future() -> None:
    data = Interactions(
        np.array([0, 0, 0, 1, 1]),
        np.array([0, 1, 2, 3, 4]),
        np.array([5.0, 1.0, 4.0, 5.0, 2.0]),
        np.arange(5.0),
        2,
        5,
    )
    examples = CutHistories(data, 4.0, size=7)
    assert len(examples) == 7
    # user 1 has one positive and so no future; user 0 is asked about item 2 each time
    for index in range(7):
        example = examples[index]
        assert (example.user, example.targets.tolist()) == (0, [2])
        assert example.past.item.tolist() == [0, 1]
