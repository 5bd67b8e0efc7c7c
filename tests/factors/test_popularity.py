"""The dimensions of popularity."""

import numpy as np
import pytest

from models.data.interactions import Interactions
from models.factors.popularity import PEAK, RecentOptions, popularity_columns


def likes(counts: list[int], minutes: float = 1.0) -> Interactions:
    """Return as many likes of each item as `counts` says, one after some `minutes`."""
    item = np.repeat(np.arange(len(counts)), counts)
    users = np.arange(len(item))
    return Interactions(
        users, item, np.full(len(item), 5.0), users * 60.0 * minutes, len(item), len(counts)
    )


@pytest.mark.parametrize("unpopular", [5, 500])
def test_the_most_popular_item_stands_as_high_in_any_catalogue(unpopular: int) -> None:
    columns = popularity_columns(likes([9, 4, *[1] * unpopular]), RecentOptions())
    assert columns[:, [1, 3]].max(axis=0) == pytest.approx([PEAK, PEAK])
    assert columns.mean(axis=0) == pytest.approx(np.zeros(4))
    assert columns[:, [0, 2]].std(axis=0) == pytest.approx([1.0, 1.0])


def test_items_that_are_equally_popular_do_not_differ() -> None:
    columns = popularity_columns(likes([2, 2, 2], minutes=0.0), RecentOptions())
    assert columns.tolist() == [[0.0] * 4] * 3


def test_the_half_life_is_a_share_of_the_time_that_the_newer_half_took() -> None:
    liked = likes([50, 51], minutes=60.0)
    hours = RecentOptions(share=0.5).half_life(liked) / 3600.0
    assert hours == pytest.approx(25.0)
    assert RecentOptions(share=0.5, times=2.0).half_life(liked) == pytest.approx(50.0 * 3600.0)
    seldom = likes([50, 51], minutes=6000.0)
    assert popularity_columns(seldom, RecentOptions()) == pytest.approx(
        popularity_columns(liked, RecentOptions())
    )


def test_the_half_life_is_an_hour_at_least() -> None:
    assert RecentOptions().half_life(likes([2, 2], minutes=0.0)) == 3600.0
