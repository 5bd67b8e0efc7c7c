"""A source of labels that people gave, in the table `active_learning` or in the label sheet.

- A row of the table is answered once it has a `value`. Its time is `labelled_at`, or `asked_at`
  where that is null.
- A line of the sheet answers the row of the same pair; its time is that row's `asked_at`.
- Both become interactions through the same checks as every source.

Trade-off: answers from the sheet are written to `interactions` only. The next `active-learning`
removes pairs that are labelled there from the table.
"""

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from jobs.sources.columns import RawTable
from jobs.sources.label_sheet import Answer, read_sheet
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import ACTIVE_LEARNING, INTERACTIONS
from models.errors import InputError


class ActiveLearningSource:
    """The answers, as interactions; InputError where there are none or no pair was asked for."""

    def __init__(self, warehouse: Warehouse, sheet: Path) -> None:
        if not warehouse.exists(ACTIVE_LEARNING):
            raise InputError(
                f"table `{ACTIVE_LEARNING}` not found under {warehouse.root}: "
                "run `nightrank active-learning` first"
            )
        rows = warehouse.read(ACTIVE_LEARNING).to_pylist()
        rows.sort(
            key=lambda row: row["value"] is not None
        )  # of one pair's rows, an answered one wins
        asked = {(row["user_id"], row["item_id"]): row for row in rows}
        told = {pair: _told(row) for pair, row in asked.items() if row["value"] is not None}
        self._origin = f"table `{ACTIVE_LEARNING}`"
        for answer in read_sheet(sheet):
            self._origin = f"table `{ACTIVE_LEARNING}` and {sheet}"
            _refuse_odd(answer, asked, sheet)
            told.setdefault(answer.pair, (answer.value, asked[answer.pair]["asked_at"]))
        if not told:
            raise InputError(
                f"no row of table `{ACTIVE_LEARNING}` has a value yet: fill in the column `value` "
                f"there or in {sheet}"
            )
        self._rows = [
            {"user_id": user, "item_id": item, "value": value, "ts": time.isoformat()}
            for (user, item), (value, time) in sorted(told.items())
        ]

    def fingerprint(self) -> str:
        """Return a hash of the answers."""
        return hashlib.sha256(json.dumps(self._rows).encode()).hexdigest()[:16]

    def read(self, spark: SparkSession) -> list[RawTable]:
        """Return the interactions."""
        frame = spark.createDataFrame(pa.Table.from_pylist(self._rows))
        return [RawTable(INTERACTIONS, self._origin, frame)]


def _told(row: dict[str, Any]) -> tuple[str, dt.datetime]:
    return repr(row["value"]), row["labelled_at"] or row["asked_at"]


def _refuse_odd(answer: Answer, asked: dict[tuple[str, str], dict[str, Any]], sheet: Path) -> None:
    """Raise InputError where the sheet's pair wasn't asked for, or the table has another answer."""
    where = f"{sheet} line {answer.line}"
    user, item = answer.pair
    if answer.pair not in asked:
        raise InputError(
            f"{where}: user {user!r} and item {item!r} are no pair of table `{ACTIVE_LEARNING}`: "
            "leave the ids as they were, or empty the line's value"
        )
    known = asked[answer.pair]["value"]
    if known is not None and answer.value not in (repr(known), f"{known:g}"):
        raise InputError(
            f"{where} says {answer.value!r}, table `{ACTIVE_LEARNING}` has {known:g}: "
            "empty the line's value, or correct it"
        )
