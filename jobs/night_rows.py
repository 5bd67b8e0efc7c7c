"""Users as they come from Spark, and lists as the rows that are stored, both in Arrow.

- Histories are cut from the long arrays that Arrow hands over; no Python object for each number.
- Item ids and reasons are taken from arrays by their places.

Trade-off: numpy and pyarrow alone, no frames: what Spark sends must have the columns named here.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.tables import RECOMMENDATIONS_STAGED, TABLES
from models.dataset import History, Rows
from models.night import Lists, Users

_TABLE = TABLES[RECOMMENDATIONS_STAGED]
COLUMNS = pa.schema([one for one in _TABLE.arrow_schema if one.name not in _TABLE.partition_by])
_ITEM_IDS = "item_ids.arrow"
_MICROSECONDS_IN_A_SECOND = 1e6


def write_item_ids(folder: Path, item_ids: Sequence[str]) -> None:
    """Write the ids of the items, by their rows, to `folder`, for `read_item_ids`."""
    table = pa.table({"item_id": pa.array(item_ids, pa.string())})
    with pa.OSFile(str(folder / _ITEM_IDS), "wb") as file, pa.ipc.new_file(file, table.schema) as w:
        w.write_table(table)


def read_item_ids(folder: str) -> "pa.Array[Any]":
    """Return the ids of the items in `folder`, mapped: all workers of a machine share the pages."""
    with pa.memory_map(str(Path(folder) / _ITEM_IDS)) as file:
        return pa.ipc.open_file(file).read_all()["item_id"].combine_chunks()


def users_of(batch: pa.RecordBatch) -> Users:
    """Return a batch of users as they come from Spark: user_id, events, text and perhaps floor."""
    past: Any = batch["events"]
    events, bounds = past.values, past.offsets.to_numpy()
    item = _flat(events, "item_row").astype(np.int64)
    value = _flat(events, "value")
    time = _flat(events, "ts", pa.int64()) / _MICROSECONDS_IN_A_SECOND
    floors = np.full(batch.num_rows, np.nan)
    if "floor" in batch.schema.names:
        floors = batch["floor"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return Users(
        list(map(str, batch["user_id"].to_pylist())),
        [
            History(item[start:end], value[start:end], time[start:end])
            for start, end in pairwise(bounds.tolist())
        ],
        list(map(str, batch["text"].to_pylist())),
        floors,
    )


def fresh_rows(
    user_ids: "pa.Array[Any]", lists: Lists, item_ids: "pa.Array[Any]", version: str
) -> pa.Table:
    """Return the rows of `lists`, made by the model `version`; `user_ids` are the batch's."""
    return _rows(
        user_ids.take(np.repeat(lists.users, lists.lengths)),
        lists.lengths,
        item_ids.take(lists.items),
        pa.array(lists.scores, pa.float32()),
        pa.array(lists.words, pa.string()).take(lists.reasons),
        version,
    )


def kept_rows(user_ids: "pa.Array[Any]", kept: Any, lists: Lists, version: str) -> pa.Table:
    """Return the rows of the lists `kept` by the users of a batch who aren't among `lists`."""
    places = np.setdiff1d(np.arange(len(user_ids)), lists.users)
    mine = kept.take(places)
    lengths = pc.list_value_length(mine).to_numpy(zero_copy_only=False).astype(np.int64)
    entries = mine.flatten()
    return _rows(
        user_ids.take(np.repeat(places, lengths)),
        lengths,
        entries.field("item_id"),
        entries.field("score"),
        entries.field("reason"),
        version,
    )


def _flat(events: Any, name: str, kind: pa.DataType | None = None) -> NDArray[Any]:
    column = events.field(name)
    return np.asarray(column if kind is None else column.cast(kind))


def _rows(users: Any, lengths: Rows, items: Any, scores: Any, reasons: Any, model: str) -> pa.Table:
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    columns = {
        "user_id": users,
        "rank": pa.array(np.arange(1, len(users) + 1) - starts, pa.int32()),
        "item_id": items,
        "score": scores,
        "model_version": pa.repeat(pa.scalar(model), len(users)),
        "reason": reasons,
    }
    return pa.Table.from_arrays([columns[name] for name in COLUMNS.names], schema=COLUMNS)
