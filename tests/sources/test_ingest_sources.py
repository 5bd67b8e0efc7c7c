"""ingest: times to come, ids as fractions, partial items, columns told, dry runs, a bound."""

import datetime as dt
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field
from deltalake.schema import PrimitiveType
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.cli import main
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.sources.arrival.commits import checked_tables
from jobs.sources.arrival.completion import completed
from jobs.sources.fields import identifier, timestamp
from jobs.sources.folder import FolderSource
from jobs.sources.validation import check
from jobs.steps import ingest
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, REJECTED_ROWS, TABLES, USERS
from models.errors import InputError

NOW = dt.datetime.now(dt.UTC)
HEAD = "user_id,item_id,value,ts"
SHOP = {
    "items.csv": "item_id,title,text,genre\na,Oak,A tree,tree\nb,Elm,Another,tree\n",
    "users.csv": "user_id,text,city\nu1,Likes oak,Ulm\n",
    "interactions.csv": f"{HEAD}\nu1,a,5,1700000000\nu2,b,5,1700000001\n",
}


def took(warehouse: Warehouse, folder: Path, files: dict[str, str], **more: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    column = more.pop("column", ())
    dry_run = more.pop("dry_run", False)
    context = Context.of(Settings(warehouse=warehouse.root, **more))
    return ingest.run(context, str(folder), column=column, dry_run=dry_run)


TIMES = [
    ("1700000000", "2023-11-14T22:13:20"),
    ("1700000000.5", "2023-11-14T22:13:20.500000"),
    ("1.7e9", "2023-11-14T22:13:20"),
    ("2024-01-05", "2024-01-05T00:00:00"),
    ("2024-01-05T10:00:00+02:00", "2024-01-05T08:00:00"),
    ("20240105", "2024-01-05T00:00:00"),
    ("20240105.0", "2024-01-05T00:00:00"),
    ("19991231", "1999-12-31T00:00:00"),
    ("20240231", None),
    ("20241301", None),
    ("19691231", None),
    ("0", "1970-01-01T00:00:00"),
    ("100", "1970-01-01T00:01:40"),
    ("1700000000000", None),
    (str(int(NOW.timestamp())), NOW.replace(microsecond=0, tzinfo=None).isoformat()),
    (str(int(NOW.timestamp()) + 3600), "soon"),
    (str(int(NOW.timestamp()) + 90 * 86400), None),
    ((NOW + dt.timedelta(days=2)).isoformat(), None),
    (f"{NOW + dt.timedelta(days=3):%Y%m%d}", None),
    (f"{NOW.year + 1}0101", None),
]
IDS = {
    **dict.fromkeys(
        ("1", "01", "1.5", "a1.0", "1.0.0", "v1.0", "12e5", "1e5", "1-0", "-1", "u", " 1", "1.",
         "{0f8fad5b-d9cb}", "[u]", '"u"', "None", "NULL", "NA", "Nan", "nano", "0x1", "1_0", "1,0"),
        True),
    **dict.fromkeys(("1.0", "10.00", "-1.0", "+1.0", "1e+16", "1.5e+7", "1.0E7", "12.5E10",
                     " 1.0", "1.0 ", "\t2.00\n", "-0.0", "1E+05", "NaN", "nan", "<NA>",
                     "a\0b", "x" * 1001, '{"id":1}', ' {"id": 1}', '["u","v"]', '[{"id":1}]'),
                    False),
}  # fmt: skip


def test_times_of_every_form_and_of_days_to_come(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(text,) for text, _ in TIMES], "text string")
    moment, reasons = timestamp(frame["text"], NOW + dt.timedelta(days=1))
    rows = frame.select(moment.cast("string"), *reasons).collect()
    for (text, expected), (found, *why) in zip(TIMES, rows, strict=True):
        assert any(why) == (expected is None), (text, found, why)
        if expected not in (None, "soon"):
            assert found.replace(" ", "T") == expected.rstrip("0" if "." in expected else ""), text


def test_what_is_no_id_is_told(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(text,) for text in IDS], "text string")
    _, reasons = identifier(frame["text"], "user_id")
    rows = frame.select("text", *reasons).collect()
    assert {row[0]: not any(row[1:]) for row in rows} == IDS


def test_a_row_of_a_day_to_come_is_rejected(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    ahead = int(NOW.timestamp()) + 90 * 86400
    files = SHOP | {"interactions.csv": SHOP["interactions.csv"] + f"u3,a,5,{ahead}\n1.0,a,5,9\n"}
    assert took(warehouse, tmp_path / "shop", files)["rejected"] == 2
    assert {row["user_id"] for row in warehouse.read(INTERACTIONS).to_pylist()} == {"u1", "u2"}
    reasons = {row["reason"] for row in warehouse.read(REJECTED_ROWS).to_pylist()}
    assert {reason.split(",")[0] for reason in reasons} == {
        "ts is in the future", "user_id is a whole number written as a fraction",
    }  # fmt: skip


OAK = {"title": "Oak", "text": "A tree Genre: tree.", "attributes": [("genre", "tree")],
       "available": True, "features": None}  # fmt: skip
PARTIAL = [
    ("item_id,available\na,false\n", {"available": False}),
    ("item_id,title,available\na,,false\n", {"available": False}),
    ("item_id,title,text,genre,available\na,,,,no\n", {"available": False}),
    ("item_id,features,available\na,[1 2],false\n", {"available": False, "features": [1.0, 2.0]}),
    ('item_id,title,attributes,available\na,,"{""genre"": ""oak""}",false\n',
     {"available": False, "attributes": [("genre", "oak")]}),
    ("item_id,title,available\na,Eiche,false\n", {"title": "Eiche", "available": False}),
    ("item_id,title\na,Eiche\n", {"title": "Eiche"}),
    ("item_id,text\na,Broad\n", {"text": "Broad"}),
    ("item_id,title,text,genre\na,Eiche,Broad,\n",
     {"title": "Eiche", "text": "Broad", "attributes": []}),
]  # fmt: skip


def test_what_a_source_does_not_say_stays(spark: SparkSession, tmp_path: Path) -> None:
    schema = TABLES[ITEMS].arrow_schema
    there = spark.createDataFrame(pa.Table.from_pylist([{"item_id": "a", **OAK}], schema=schema))
    goods = []
    for place, (content, _) in enumerate(PARTIAL):
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / "items.csv").write_text(content)
        (raw,) = FolderSource(folder).read(spark)
        good = completed(check(raw, ""), there).good
        goods.append(good.withColumn("item_id", fn.lit(str(place))))
    found = reduce(DataFrame.unionByName, goods).toArrow().to_pylist()
    rows = {row.pop("item_id"): row for row in found}
    assert rows == {str(place): OAK | said for place, (_, said) in enumerate(PARTIAL)}


def test_an_unknown_item_needs_words(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"all 1 rows .*title and text are both empty"):
        took(warehouse, tmp_path / "shop", {"items.csv": "item_id,available\nx,false\n"})
    assert not warehouse.exists(ITEMS)


OTHER_NAMES = {
    "items.csv": "sku,name\na,Oak\nb,Elm\n",
    "interactions.csv": "buyer,customer_id,sku,created_at,mood\nu1,x,a,1700000000,good\n",
}


def test_columns_are_told_or_guessed_and_it_is_said(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    result = took(warehouse, tmp_path / "shop", OTHER_NAMES, column=("user_id=buyer",))
    (row,) = warehouse.read(INTERACTIONS).to_pylist()
    assert (row["user_id"], row["item_id"], row["value"]) == ("u1", "a", 1.0)
    said = "\n".join(result["notes"])
    for expected in ("`buyer` is read as `user_id`", "`sku` is read as `item_id`",
                     "`created_at` is read as `ts`", "not read: column `mood`, `customer_id`",
                     "no column `value`"):  # fmt: skip
        assert expected in said


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("user_id", "expected FIELD=COLUMN"),
        ("user=buyer", r"no such field, did you mean `user_id`\?; expected one of "),
        ("user_id=nobody", "column `nobody`, told to be `user_id`, is in no file"),
    ],
)
def test_a_column_that_is_told_wrongly_is_named(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path, column: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        took(warehouse, tmp_path / "shop", OTHER_NAMES, column=(column,))


def test_a_dry_run_tells_and_writes_nothing(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    rows = SHOP["interactions.csv"] + "u1,a,5,1700000000\nu1,b,1,1700000000\nu3,z,1,1\nu4,a,one,1\n"
    result = took(warehouse, tmp_path / "shop", SHOP | {"interactions.csv": rows}, dry_run=True)
    shown = result["tables"][INTERACTIONS]
    assert (shown["good"], shown["repetitions"], shown["positives"]) == (3, 1, 2)
    assert shown["rejected"] == {"item_id is not among the items": 1,
                                 "value is not a finite number": 1}  # fmt: skip
    assert shown["first"] == "2023-11-14T22:13:20+00:00"
    assert result["tables"][ITEMS]["rows"][0]["title"] == "Oak"
    assert "rejected: 1 rows: item_id is not among the items" in result["text"]
    assert not Path(warehouse.root).exists()


def test_too_many_bad_rows_change_no_table(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    files = SHOP | {"interactions.csv": SHOP["interactions.csv"] + "u3,a,five,1700000000\n"}
    with pytest.raises(InputError, match=r"1 rows .* a share of 0.33 above max_rejected_share 0.3"):
        took(warehouse, tmp_path / "shop", files, max_rejected_share=0.3)
    assert not Path(warehouse.root).exists()
    assert took(warehouse, tmp_path / "shop", files, max_rejected_share=0.4)["rejected"] == 1


def test_the_command_line_takes_columns_and_dry_runs(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "shop"
    source.mkdir()
    for name, content in OTHER_NAMES.items():
        (source / name).write_text(content)
    warehouse = ["--warehouse", f"file:{tmp_path}/wh"]
    main(["ingest", f"file://{source}", *warehouse, "--column", "user_id=buyer", "--dry-run"])
    assert "user_id from `buyer`" in capsys.readouterr().out
    assert not (tmp_path / "wh").exists()


def test_columns_that_a_source_lacks_stay_also_those_of_another_program(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    took(warehouse, tmp_path / "shop", {name: SHOP[name] for name in ("items.csv", "users.csv")})
    price = Field("price", PrimitiveType("double"), nullable=True)
    DeltaTable(warehouse.path(ITEMS)).alter.add_columns([price])
    new = "item_id,title,text\na,Eiche,Ein Baum\nc,Ash,\n"
    users = "user_id,text\nu1,Likes elm\n"
    result = took(warehouse, tmp_path / "shop", {"items.csv": new, "users.csv": users})
    (user,) = warehouse.read(USERS).to_pylist()
    assert (user["text"], user["attributes"]) == ("Likes elm", [("city", "Ulm")])
    assert (result["tables"][ITEMS]["new"], result["tables"][ITEMS]["changed"]) == (1, 1)
    assert "price" in DeltaTable(warehouse.path(ITEMS)).schema().to_arrow().names


def test_judged_rows_wait_on_disk(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    """In memory, half of a hundred million rows would be one array."""
    for name, content in SHOP.items():
        (tmp_path / name).write_text(content, "utf-8")
    tables = checked_tables(spark, warehouse, FolderSource(tmp_path).read(spark), "id", "merge")
    levels = [table.frame.storageLevel for table in tables]
    for table in tables:
        table.frame.unpersist()
    assert [(level.useDisk, level.useMemory) for level in levels] == [(True, False)] * len(SHOP)
