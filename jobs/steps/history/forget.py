"""Forget users: erase every row about them, and every older version that still has one.

- Their rows go from interactions, users, nights, staged nights, labels and rejected rows, and from
  the sheet of labels under `reports`; messages of `runs` that name them are emptied. Older versions
  of these tables go too, and what Delta's log says of their values
  (`jobs.warehouse.removal.erasure`).
- `runs` says that somebody was forgotten, not who. What a model learned of them goes with the next
  training on the tables as they are then.
- Each table is changed under its lock. The ids stand in a file of the warehouse until all is done:
  after a kill, the same command goes on, and so does `forget` of anybody else.

Trade-off: earlier nights can't be reproduced any more, and a night that was staged before has to be
scored again before it is published.
"""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from jobs.context import Context
from jobs.reports.plots import EXPLANATION
from jobs.sources.label_sheet import SHEET, forget_in_sheet
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.removal.erasure import (
    erase,
    forget_versions,
    remember_under_way,
    under_way,
)
from jobs.warehouse.tables import (
    ACTIVE_LEARNING,
    INTERACTIONS,
    RECOMMENDATIONS,
    RECOMMENDATIONS_STAGED,
    REJECTED_ROWS,
    RUNS,
    USERS,
)
from models.errors import InputError

# what a night is made of first: a night that is staged meanwhile knows nobody who is forgotten
_BY_USER = (INTERACTIONS, USERS, ACTIVE_LEARNING, RECOMMENDATIONS_STAGED, RECOMMENDATIONS)


def run(context: Context, user: tuple[str, ...] = (), file: Path | None = None) -> dict[str, Any]:
    """Forget the users of these ids, and those in `file`, one a line.

    Raises InputError naming the first whom no table has; all tables stay as they were.
    """
    warehouse = context.warehouse
    warehouse.tables()  # tells where there is no warehouse at all
    begun = under_way(warehouse)
    wanted = _wanted(user, file)
    _refuse_unknown(warehouse, {who: ids for who, ids in wanted.items() if ids not in begun})
    users = frozenset(wanted.values()) | begun
    with context.recorded("forget") as record:
        record.rows = {USERS: len(users)}
        remember_under_way(warehouse, users)
        try:
            _forget(warehouse, users)
            reports = Path(context.settings.reports)
            forget_in_sheet(reports / SHEET, users)
            (reports / EXPLANATION).unlink(missing_ok=True)  # it may show anybody's history
        except Exception as error:  # noqa: BLE001  (what Delta raises may name them)
            raise RuntimeError(
                f"{type(error).__name__} while users were forgotten: run the command again"
            ) from None
        remember_under_way(warehouse, frozenset())
    return {"users_forgotten": len(users)}


def _forget(warehouse: Warehouse, users: frozenset[str]) -> None:
    for name in _BY_USER:
        erase(warehouse, name, "user_id", users)
    if warehouse.exists(REJECTED_ROWS):
        rejected = warehouse.read(REJECTED_ROWS, columns=["table", "row"]).to_pylist()
        rows = {one["row"] for one in rejected if one["table"] in (INTERACTIONS, USERS)}
        about = {row for row in rows if _is_about(row, users)}
        erase(warehouse, REJECTED_ROWS, "row", about)
    if warehouse.exists(RUNS):
        with warehouse.lock(RUNS):
            _empty_messages(warehouse, users)
            forget_versions(warehouse, RUNS)


def _is_about(row: str, users: frozenset[str]) -> bool:
    """Return whether a rejected row is about one of `users`, or may be."""
    try:
        found = json.loads(row)
    except ValueError:
        found = None
    if isinstance(found, dict) and "user_id" in found:
        return str(found["user_id"]).strip() in users
    words = users & set(re.split(r"[\s,;:|\"'{}\[\]\t]+", row))
    return bool(words) or any(len(user) > 3 and user in row for user in users)


def _empty_messages(warehouse: Warehouse, users: frozenset[str]) -> None:
    runs = warehouse.read(RUNS)
    names = [re.escape(repr(user)[1:-1]) for user in users]
    naming = re.compile(rf"['\"](?:{'|'.join(names)})(?:['\"]|, )")
    emptied = [
        None if message and naming.search(message) else message
        for message in runs["message"].to_pylist()
    ]
    if emptied != runs["message"].to_pylist():
        column = pa.array(emptied, pa.string())
        place = runs.schema.get_field_index("message")
        warehouse.overwrite(RUNS, runs.set_column(place, runs.schema.field(place), column))


def _wanted(user: tuple[str, ...], file: Path | None) -> dict[str, str]:
    """Return the ids by how a message names them; InputError where there is none."""
    found = {f"USER {one!r}": one for one in user}
    if file is not None:
        try:
            lines = file.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--file {file} can't be read: {error}") from error
        found |= {f"{file} line {n}": line for n, line in enumerate(lines, 1) if line.strip()}
    if not found:
        raise InputError("nobody to forget: name a USER, or a file of ids with --file")
    return found


def _refuse_unknown(warehouse: Warehouse, wanted: dict[str, str]) -> None:
    about = ds.field("user_id").isin(pa.array(list(wanted.values()), pa.string()))
    known: set[str] = set()
    for name in filter(warehouse.exists, _BY_USER):
        found = warehouse.dataset(name).to_table(columns=["user_id"], filter=about)
        known |= {str(one) for one in found["user_id"].unique().to_pylist()}
    for who, one in wanted.items():
        if one not in known:
            raise InputError(f"{who}: no table has such a user; nothing was changed")
