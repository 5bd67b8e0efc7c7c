"""Arrow tables in a scoring task: Spark's rows become users, and ranked lists become stored rows.

- Spark sends rows ordered by user. They are cut into batches of whole users, and the histories are
  slices of the batch's arrays, without a Python object for each number.
- Item ids and reasons are looked up in arrays by position.

Trade-off: numpy and pyarrow alone, which is fast but relies on the column names used here.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.warehouse.tables import RECOMMENDATIONS_STAGED, TABLES
from models.data.arrays import Rows
from models.data.interactions import History
from models.serving.night import Lists, Users

_TABLE = TABLES[RECOMMENDATIONS_STAGED]
# what a file holds: the partition's column stands in its path
COLUMNS = pa.schema([one for one in _TABLE.arrow_schema if one.name not in _TABLE.partition_by])
# what a list that may be kept brings along: a night's rows all get the model version of that night
ENTRY = [name for name in COLUMNS.names if name != "model_version"]
_ITEM_IDS = "item_ids.arrow"
_EVENT = ["item_row", "value", "ts"]
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


def whole_users(batches: Iterator[pa.RecordBatch], most: int) -> Iterator[pa.Table]:
    """Cut rows, one user after another, into tables of `most` users, the last of those left."""
    waiting: list[pa.RecordBatch] = []
    begun, last = 0, None
    for batch in batches:
        ids, ends = _runs(batch["user_id"])
        starts = np.concatenate([[0], ends[:-1]])[1 if ids[0] == last else 0 :]
        cut = 0
        for start in starts[most - begun :: most].tolist():
            yield pa.Table.from_batches([*waiting, batch.slice(cut, start - cut)])
            waiting, cut = [], start
        waiting.append(batch.slice(cut))
        begun = (begun + len(starts) - 1) % most + 1
        last = ids[-1]
    if waiting:
        yield pa.Table.from_batches(waiting)


def users_of(rows: pa.Table, k: int) -> Users:
    """Return the users of `rows`, which are those of `jobs.nights.frame.user_rows`.

    The score of the k-th entry of the list that may be kept is the user's floor, if there is one.
    """
    ids, ends = _runs(rows["user_id"].combine_chunks())
    owners = np.repeat(np.arange(len(ids)), np.diff(ends, prepend=0))
    events = rows.select(_EVENT).filter(rows["item_row"].is_valid())
    bounds = np.searchsorted(owners[_there(rows, "item_row")], np.arange(len(ids) + 1))
    item = _flat(events, "item_row").astype(np.int64)
    value = _flat(events, "value")
    time = _flat(events, "ts", pa.int64()) / _MICROSECONDS_IN_A_SECOND
    profiles = np.full(len(ids), "", dtype=object)
    profiles[owners[_there(rows, "text")]] = rows["text"].drop_null().to_pylist()
    floors = np.full(len(ids), np.nan)
    if "rank" in rows.column_names:
        kth = np.asarray(pc.equal(rows["rank"], pa.scalar(k)).fill_null(False))
        floors[owners[kth]] = _flat(rows, "score")[kth]
    return Users(
        list(map(str, ids.to_pylist())),
        [
            History(item[start:end], value[start:end], time[start:end])
            for start, end in pairwise(bounds.tolist())
        ],
        list(map(str, profiles)),
        floors,
    )


def fresh_rows(users: Users, lists: Lists, item_ids: "pa.Array[Any]", version: str) -> pa.Table:
    """Return the rows to store for the `lists` of `users`, ranked by the model `version`."""
    starts = np.repeat(np.cumsum(lists.lengths) - lists.lengths, lists.lengths)
    return _stored(
        {
            "user_id": pa.array(users.ids, pa.string()).take(np.repeat(lists.users, lists.lengths)),
            "rank": pa.array(np.arange(1, len(starts) + 1) - starts, pa.int32()),
            "item_id": item_ids.take(lists.items),
            "score": pa.array(lists.scores, pa.float32()),
            "reason": pa.array(lists.words, pa.string()).take(lists.reasons),
            "reason_items": _ids_of(lists.reason_items, item_ids),
        },
        version,
    )


def kept_rows(rows: pa.Table, users: Users, lists: Lists, version: str) -> pa.Table:
    """Return the kept lists among the `rows` of `users`: those of users without one in `lists`."""
    ranked = pa.array(users.ids, pa.string()).take(lists.users)
    keeps = pc.invert(pc.is_in(rows["user_id"], value_set=ranked))
    kept = rows.select(ENTRY).filter(pc.and_(rows["rank"].is_valid(), keeps))
    return _stored(dict(zip(ENTRY, kept.columns, strict=True)), version)


def _ids_of(rows: Rows, item_ids: "pa.Array[Any]") -> "pa.Array[Any]":
    """Return the ids of the items `rows` [n, m] as a list for each of the n; -1 is no item."""
    there = rows >= 0
    ends = np.append(0, np.cumsum(there.sum(axis=1)))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), item_ids.take(rows[there]))


def _runs(ids: "pa.Array[Any]") -> "tuple[pa.Array[Any], Rows]":
    """Return the different ids that stand one after another, and where the rows of each end."""
    changes = np.asarray(pc.not_equal(ids[1:], ids[:-1]))
    ends = np.append(np.flatnonzero(changes) + 1, len(ids))
    return ids.take(pa.array(ends - 1)), ends


def _there(rows: pa.Table, name: str) -> NDArray[np.bool_]:
    return np.asarray(rows[name].is_valid())


def _flat(rows: pa.Table, name: str, kind: pa.DataType | None = None) -> NDArray[Any]:
    column = rows[name]
    return np.asarray(column if kind is None else column.cast(kind))


def _stored(entries: dict[str, Any], version: str) -> pa.Table:
    """Return the columns `entries`, by the names of ENTRY, with the model version beside them."""
    model = pa.repeat(pa.scalar(version), len(entries["user_id"]))
    columns = {**entries, "model_version": model}
    return pa.Table.from_arrays(
        [columns[one.name].cast(one.type) for one in COLUMNS], schema=COLUMNS
    )
