"""The policy of repeats: what keeps an item off a list, by hand and for any times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.settings.model import Settings
from models.data.interactions import Interactions
from models.data.options import RepeatOptions
from models.data.repeats import Repeats

DAY = 86400.0


def visits(*days: float) -> Interactions:
    """Return interactions of user 0 with items 0, 1, ... on these days."""
    rows = np.arange(len(days))
    return Interactions(0 * rows, rows, np.ones(len(days)), np.array(days) * DAY, 2, len(days))


@pytest.mark.parametrize(
    ("clock", "days", "expected"),
    [
        (10.0, None, [0, 1, 2, 3]),
        (10.0, 0.0, []),
        (10.0, 3.0, [2, 3]),  # had on day 7 it may be listed on day 10
        (10.0, 1.0, [3]),
        (100.0, 30.0, []),
        (None, 3.0, [1, 2, 3]),  # asked on day 9, the last visit
        (None, 0.0, []),
    ],
)
def test_what_is_kept_off(clock: float | None, days: float | None, expected: list[int]) -> None:
    had = visits(2.0, 7.0, 8.0, 9.5 if clock else 9.0)
    asked = None if clock is None else clock * DAY
    assert Repeats(days).not_to_repeat(had, asked).item.tolist() == expected


def test_what_an_item_is_had_by() -> None:
    """Items 0 to 4: viewed, put into the cart, bought, returned, taken out of the cart."""
    value, rows = np.array([1.0, 3.0, 5.0, -5.0, 0.0]), np.arange(5)
    events = Interactions(0 * rows, rows, value, rows * DAY, 1, 5)
    assert Repeats(had_from=5.0).not_to_repeat(events, None).item.tolist() == [2, 3]
    assert Repeats(had_from=3.0).not_to_repeat(events, None).item.tolist() == [1, 2, 3]
    assert Repeats().not_to_repeat(events, None).item.tolist() == [0, 1, 2, 3, 4]
    # on day 4, the day of the last visit, which had nothing, it is two days since item 2
    assert Repeats(1.5, 5.0).not_to_repeat(events, None).item.tolist() == [3]
    assert not len(Repeats(0.0, 5.0).not_to_repeat(events, None))


@given(st.lists(st.floats(0, 1e9), max_size=20), st.floats(0, 1e9), st.floats(0.001, 4000))
def test_a_longer_wait_keeps_more_off(times: list[float], asked: float, days: float) -> None:
    time = np.array(times)
    always, some, more, never = (
        Repeats(wait).kept_off(np.ones(len(time)), time, asked)
        for wait in (0.0, days, days + 1, None)
    )
    assert not always.any()
    assert never.all()
    assert (some <= more).all()


def test_the_setting_says_the_policy() -> None:
    assert Settings().repeat_policy == Repeats()
    assert Settings(repeats="always").repeat_policy == Repeats(0.0)
    assert Settings(repeats="after_days", repeat_after_days=7).repeat_policy == Repeats(7.0)
    assert Settings(had_from=5.0).repeat_policy == Repeats(None, 5.0)
    assert RepeatOptions.trained_with({"seed": 1}).repeat_policy == Repeats()
    assert RepeatOptions.trained_with({"seed": 1, "repeats": "always"}).repeat_policy.days == 0
