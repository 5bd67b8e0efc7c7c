"""What comes day by day: increments, snapshots, some columns alone, and what was deleted."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import ingest
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, REJECTED_ROWS, TRIPLES, USERS
from models.errors import InputError

DAYS = 10


def write(folder: Path, **tables: str) -> Path:
    """Write tables as CSV files of a new source."""
    folder.mkdir()
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, "utf-8")
    return folder


def lines(head: str, rows_of_file: Iterable[str]) -> str:
    return "\n".join([head, *rows_of_file]) + "\n"


def run(warehouse: Warehouse, folder: Path, **how: Any) -> dict[str, Any]:
    return ingest.run(Context.of(Settings(warehouse=warehouse.root)), str(folder), **how)


def rows(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    found = warehouse.read(name).drop_columns(["ingest_id"] if name == INTERACTIONS else [])
    return sorted(found.to_pylist(), key=str)


def test_ten_days_of_drops_are_one_ingest_of_everything(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Each day has its events, and the items and users of them: yet unmended, known, or again."""
    once, daily = Warehouse(str(tmp_path / "once")), Warehouse(str(tmp_path / "daily"))
    events = [
        f"u{(7 * n) % 11},i{(5 * n) % (4 + n // 20)},{1 + n % 5},{1000 * n}"
        for n in range(20 * DAYS)
    ]
    titles = {f"i{n}": f"Item {n}" for n in range(13)}
    head = "user_id,item_id,value,ts"
    run(once, write(
        tmp_path / "all",
        items=lines("item_id,title,colour", (f"{i},{t},red" for i, t in titles.items())),
        interactions=lines(head, events),
    ))  # fmt: skip
    known: dict[str, str] = {}
    for day in range(DAYS):
        today = events[20 * day : 20 * (day + 1)]
        yesterday = events[max(20 * day - 3, 0) : 20 * day]  # comes twice
        ids = {row.split(",")[1] for row in today}
        mended = [f"{i},{titles[i]},red" for i in known]
        early = [f"{i},Draft,grey" for i in sorted(ids - known.keys())]
        known |= dict.fromkeys(sorted(ids), "")
        if day == DAYS - 1:
            mended, early = [f"{i},{t},red" for i, t in titles.items()], []
        drop = {"interactions": lines(head, yesterday + today)}
        if mended + early:
            drop["items"] = lines("item_id,title,colour", mended + early)
        run(daily, write(tmp_path / f"day{day}", **drop))
    for name in (ITEMS, INTERACTIONS):
        assert rows(daily, name) == rows(once, name), name
    assert len(rows(once, INTERACTIONS)) == 20 * DAYS


def test_what_a_snapshot_lacks_goes(
    spark: SparkSession, tmp_path: Path, warehouse: Warehouse
) -> None:
    write_all = {
        "items": "item_id,title\na,Ash\nb,Birch\nc,Cedar\n",
        "users": "user_id,text\nada,nurse\nbob,baker\n",
        "interactions": "user_id,item_id,value,ts\nada,a,5,100\nada,b,4,200\nbob,b,3,300\n",
        "triples": "head,relation,tail\na,like,b\nb,like,c\n",
    }
    run(warehouse, write(tmp_path / "first", **write_all))
    today = {
        "items": "item_id,title\na,Ash\nc,Cedar tree\nd,Date\n",
        "users": "user_id,text\nbob,baker\n",
        "interactions": "user_id,item_id,value,ts\nada,a,5,100\nbob,b,1,300\nada,d,x,400\n",
        "triples": "head,relation,tail\nb,like,c\nc,like,d\n",
    }
    folder = write(tmp_path / "today", **today)
    result = run(warehouse, folder, snapshot=True)
    on_sale = {row["item_id"]: row["available"] for row in rows(warehouse, ITEMS)}
    assert on_sale == {"a": True, "b": False, "c": True, "d": True}
    titles = {row["item_id"]: row["title"] for row in rows(warehouse, ITEMS)}
    assert titles == {"a": "Ash", "b": "Birch", "c": "Cedar tree", "d": "Date"}
    assert [row["user_id"] for row in rows(warehouse, USERS)] == ["bob"]
    left = [(row["user_id"], row["item_id"], row["value"]) for row in rows(warehouse, INTERACTIONS)]
    assert left == [("ada", "a", 5.0), ("bob", "b", 1.0)]
    assert [row["head"] for row in rows(warehouse, TRIPLES)] == ["b", "c"]
    changes = {name: (one["new"], one["changed"], one["removed"])
               for name, one in result["tables"].items()}  # fmt: skip
    assert changes == {
        ITEMS: (1, 2, 0), USERS: (0, 0, 1), INTERACTIONS: (0, 1, 1), TRIPLES: (1, 0, 1),
        REJECTED_ROWS: (1, 0, 0),
    }  # fmt: skip
    versions = {name: one["version"] for name, one in result["tables"].items()}
    again = run(warehouse, folder, snapshot=True)
    assert {name: one["version"] for name, one in again["tables"].items()} == versions
    with pytest.raises(InputError, match="--snapshot and --partial"):
        run(warehouse, folder, snapshot=True, partial=True)


def test_a_bad_row_of_a_snapshot_stays_as_it_was(
    spark: SparkSession, tmp_path: Path, warehouse: Warehouse
) -> None:
    first = "item_id,title,available\na,Ash,true\nb,Birch,true\n"
    run(warehouse, write(tmp_path / "first", items=first))
    today = "item_id,title,available\na,Ash,maybe\nc,Cedar,true\n"
    assert run(warehouse, write(tmp_path / "today", items=today), snapshot=True)["rejected"] == 1
    on_sale = {row["item_id"]: row["available"] for row in rows(warehouse, ITEMS)}
    assert on_sale == {"a": True, "b": False, "c": True}


def test_columns_that_a_partial_source_lacks_stay(
    spark: SparkSession, tmp_path: Path, warehouse: Warehouse
) -> None:
    first = "item_id,title,text,price,colour,available\na,Ash,A tree.,5,green,false\n"
    run(warehouse, write(tmp_path / "first", items=first))
    before = rows(warehouse, ITEMS)[0]
    today = "item_id,title,price\na,Ash tree,6\nb,Birch,7\n"
    run(warehouse, write(tmp_path / "today", items=today), partial=True)
    a, b = rows(warehouse, ITEMS)
    assert (a["title"], a["text"], a["available"]) == ("Ash tree", before["text"], False)
    assert dict(a["attributes"]) == {"price": "6", "colour": "green"}
    assert (b["title"], b["text"], b["available"]) == ("Birch", "Price: 7.", True)


def test_what_is_deleted_goes(spark: SparkSession, tmp_path: Path, warehouse: Warehouse) -> None:
    run(warehouse, write(
        tmp_path / "first",
        items="item_id,title\na,Ash\nb,Birch\n",
        users="user_id,text\nada,nurse\nbob,baker\n",
        interactions="user_id,item_id,value,ts\nada,a,5,100\nada,b,4,200\nbob,b,3,300\n",
    ))  # fmt: skip
    result = run(warehouse, write(
        tmp_path / "second",
        items="item_id,title,deleted\na,,true\nb,Birch tree,false\n",
        users="user_id,text,is_deleted\nada,,1\n",
        interactions="user_id,item_id,value,ts,deleted\nada,b,,200,true\nbob,a,5,400,\n",
    ))  # fmt: skip
    assert result["rejected"] == 0
    found = {row["item_id"]: (row["title"], row["available"]) for row in rows(warehouse, ITEMS)}
    assert found == {"a": ("Ash", False), "b": ("Birch tree", True)}
    assert [row["user_id"] for row in rows(warehouse, USERS)] == ["bob"]
    pairs = [(row["user_id"], row["item_id"]) for row in rows(warehouse, INTERACTIONS)]
    assert pairs == [("ada", "a"), ("bob", "a"), ("bob", "b")]
    assert result["tables"][USERS]["removed"] == result["tables"][INTERACTIONS]["removed"] == 1
