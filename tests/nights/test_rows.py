"""Rows of users become batches of users, whatever batches Arrow sends."""

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from jobs.nights.rows import COLUMNS, ENTRY, kept_rows, users_of, whole_users
from models.serving.night import Lists

NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "ts": pa.timestamp("us", "UTC"),
        "tie": pa.int32(),
        "item_row": pa.int32(),
        "value": pa.float64(),
        "text": pa.string(),
        **{name: COLUMNS.field(name).type for name in ENTRY if name != "user_id"},
    }
)
K = 2

# a user: items of the history, the profile or None, the scores of the list that may be kept
USER = st.tuples(
    st.lists(st.integers(0, 9), max_size=4),
    st.none() | st.sampled_from(["", "a writer"]),
    st.lists(st.integers(0, 9), max_size=K),
)


def rows_of(name: str, items: list[int], text: str | None, scores: list[int]) -> pa.Table:
    """Return the rows of one user, who has at least one, without anything."""
    rows: list[dict[str, Any]] = [{"user_id": name}]
    rows += [{"user_id": name, "text": text}] if text is not None else []
    rows += [
        {"user_id": name, "rank": rank, "item_id": f"i{rank}", "score": score, "reason": "why"}
        for rank, score in enumerate(scores, 1)
    ]
    rows += [
        {
            "user_id": name,
            "ts": NOON + dt.timedelta(seconds=at),
            "tie": item,
            "item_row": item,
            "value": float(item),
        }
        for at, item in enumerate(items)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@given(st.lists(USER, max_size=9), st.integers(1, 4), st.integers(1, 7))
def test_users_stay_whole_whatever_the_batches(
    users: list[tuple[list[int], str | None, list[int]]], most: int, rows_in_a_batch: int
) -> None:
    tables = [rows_of(f"u{number}", *user) for number, user in enumerate(users)]
    rows = pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks()
    cut = list(whole_users(iter(rows.to_batches(rows_in_a_batch)), most))
    assert [len(table["user_id"].unique()) for table in cut[:-1]] == [most] * (len(cut) - 1)
    assert pa.concat_tables([SCHEMA.empty_table(), *cut]) == rows
    found = [users_of(table, K) for table in cut]
    assert [name for batch in found for name in batch.ids] == [f"u{n}" for n in range(len(users))]
    histories = [history for batch in found for history in batch.histories]
    start = NOON.timestamp()
    for history, (items, _, _) in zip(histories, users, strict=True):
        assert history.item.tolist() == history.value.tolist() == items
        assert history.time.tolist() == [start + at for at in range(len(items))]
    assert [text for batch in found for text in batch.profiles] == [u[1] or "" for u in users]
    floors = [floor for batch in found for floor in batch.floors]
    np.testing.assert_array_equal(
        floors, [scores[-1] if len(scores) == K else np.nan for _, _, scores in users]
    )


def test_rows_without_lists_have_no_floor() -> None:
    rows = rows_of("a", [3], None, []).drop_columns(ENTRY[1:])
    assert np.isnan(users_of(rows, K).floors).all()


def test_lists_are_kept_by_those_who_get_no_other() -> None:
    tables = [rows_of("a", [1], "a text", [7, 5]), rows_of("b", [2], None, [9])]
    nobody = np.zeros(0, dtype=np.int64)
    no_items = np.zeros((0, 3), dtype=np.int64)
    lists = Lists(np.array([0]), nobody, nobody, np.zeros(0, np.float32), nobody, [], no_items)
    rows = pa.concat_tables(tables)
    kept = kept_rows(rows, users_of(rows, K), lists, "m2").to_pylist()
    assert kept == [
        {
            "user_id": "b",
            "rank": 1,
            "item_id": "i1",
            "score": 9.0,
            "model_version": "m2",
            "reason": "why",
            "reason_items": None,
        }
    ]
