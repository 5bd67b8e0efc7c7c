"""What keeps an item off a list: the night, its audit and the evaluation say the same."""

import datetime as dt

import duckdb
import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.nights.audit import lately
from jobs.nights.staged import StagedNight
from models.data.interactions import Interactions, histories
from models.data.splits import Trial
from models.evaluation.question import seen_and_found
from models.serving.night import NightPlan, kept_off

USERS, ITEMS = 3, 6
NIGHT = dt.date(2026, 1, 20)
MIDNIGHT = dt.datetime(2026, 1, 20, tzinfo=dt.UTC).timestamp()
VALUES = (-5.0, 0.0, 0.5, 1.0, 3.0, 5.0)
HOUR = 3600.0

events = st.lists(
    st.tuples(
        st.integers(0, USERS - 1),
        st.integers(0, ITEMS - 1),
        st.sampled_from(VALUES),
        st.integers(1, 24 * 15),  # hours before the night, so that a day's end is met
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(
    events,
    st.sampled_from((None, 0.0, 1.0, 7.0)),
    st.sampled_from((0.0, 0.5, 3.0, 5.0, 9.0)),
    st.sampled_from(("night", "last_visit")),
)
def test_night_audit_and_evaluation_agree(
    drawn: list[tuple[int, int, float, int]], days: float | None, had_from: float, asked: str
) -> None:
    user, item, value, ago = (np.array(column) for column in zip(*drawn, strict=True))
    time = MIDNIGHT - ago * HOUR
    past = Interactions(user, item, value.astype(float), time, USERS, ITEMS)
    night = StagedNight(
        NIGHT, "m1", 2, {}, asked=asked, repeat_days=days, had_from=had_from, as_of_date=True
    )
    plan = NightPlan("", "", "m1", 2, 1, 1, night.clock, 1, "cpu", night.repeats)
    listed = {
        (owner, row)
        for owner, history in enumerate(histories(past, np.arange(USERS)))
        for row in kept_off(history, plan).tolist()
    }
    empty = past.take(np.zeros(len(past), dtype=np.bool_))
    trial = Trial(
        empty, empty, empty, past, past, empty, np.arange(ITEMS), night.clock, 4.0, night.repeats
    )
    evaluated, _ = seen_and_found(trial)
    table = pa.table(
        {
            "user_id": user,
            "item_id": item,
            "value": past.value,
            "ts": pa.array((time * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC")),
        }
    )
    with duckdb.connect() as tables:
        tables.register("past", table)
        audited = set(tables.sql(f"SELECT user_id, item_id FROM past {lately(night)}").fetchall())
    assert listed == set(zip(*map(list, evaluated.nonzero()), strict=True)) == audited
