"""Parts of one table that differ, and values of odd types: read right by each part's own schema."""

import datetime as dt
import uuid
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn

from jobs.sources.columns import RawTable
from jobs.sources.fields import named
from jobs.sources.folder import FolderSource
from jobs.sources.validation import CheckedTable, check
from models.errors import InputError

DAY = dt.datetime(2024, 1, 5, 10, 30, tzinfo=dt.UTC)
SECONDS = int(DAY.timestamp())
HEAD = "user_id,item_id,value,ts"
ROWS = {("u1", "a", 5.0, DAY), ("u2", "b", 5.0, DAY)}
Files = dict[str, str | bytes | pa.Table]


def source(folder: Path, files: Files) -> FolderSource:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path, use_deprecated_int96_timestamps="int96" in name)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return FolderSource(folder)


def interactions(
    spark: SparkSession, folder: Path, cases: dict[str, Files]
) -> dict[str, set[tuple[Any, ...]]]:
    """Return the rows of each case's folder; all cases are judged in one job, which saves time."""
    frames = []
    for case, files in cases.items():
        (raw,) = source(folder / case, files).read(spark)
        fields = {name: named(column) for name, column in raw.matched().fields.items()}
        fields["user_id"] = fn.concat(fn.lit(f"{case}|"), fields["user_id"])
        frames.append(raw.frame.select(*(one.alias(name) for name, one in fields.items())))
    rows = RawTable("interactions", "cases", reduce(DataFrame.unionByName, frames))
    found: dict[str, set[tuple[Any, ...]]] = {case: set() for case in cases}
    for row in check(rows, "id").good.toArrow().to_pylist():
        case, user = row["user_id"].split("|")
        found[case].add((user, row["item_id"], row["value"], row["ts"]))
    return found


def judged(spark: SparkSession, folder: Path, files: Files) -> CheckedTable:
    (raw,) = source(folder, files).read(spark)
    return check(raw, "id")


def arrow(user: Any, item: Any, ts: Any, value: Any = 5.0, **more: Any) -> pa.Table:
    columns = {"user_id": user, "item_id": item, "value": value, "ts": ts, **more}
    return pa.table({name: one if isinstance(one, pa.Array) else pa.array([one])
                     for name, one in columns.items()})  # fmt: skip


def time(unit: str, zone: str | None = None) -> pa.Array:
    return pa.array([DAY], pa.timestamp("us", tz="UTC")).cast(pa.timestamp(unit, tz=zone))


def one_part(*values: str, head: str = HEAD, delimiter: str = ",") -> str:
    row = delimiter.join(values)
    return head.replace(",", delimiter) + "\n" + row + "\n"


FIRST = one_part("u1", "a", "5", str(SECONDS))
CSV = "interactions.csv/"
PARQUET = "interactions.parquet/"
ALIKE: dict[str, Files] = {
    "order": {CSV + "1": FIRST, CSV + "2": one_part(
        str(SECONDS), "b", "u2", "5", head="ts,item_id,user_id,value")},
    "spelling": {CSV + "1": FIRST, CSV + "2": one_part(
        "u2", "b", "5", str(SECONDS), head="userId,Item_ID,rating,timestamp")},
    "times as texts": {CSV + "1": FIRST, CSV + "2": one_part("u2", "b", "5", "2024-01-05T10:30Z")},
    "another zone": {CSV + "1": FIRST, CSV + "2": one_part(
        "u2", "b", "5", "2024-01-05 12:30:00+02:00")},
    "line ends": {CSV + "1": FIRST, CSV + "2": one_part(
        "u2", "b", "5", str(SECONDS)).replace("\n", "\r\n")},
    "old line ends": {CSV + "1": FIRST, CSV + "2": one_part(
        "u2", "b", "5", str(SECONDS)).replace("\n", "\r")},
    "byte order mark": {CSV + "1": FIRST, CSV + "2": "\ufeff" + one_part(
        "u2", "b", "5", str(SECONDS))},
    "quotes": {CSV + "1": FIRST, CSV + "2": '"user_id","item_id","value","ts"\n'
                                            f'"u2","b","5","{SECONDS}"\n'},
    "formats": {"interactions/1.csv": FIRST, "interactions/2.tsv": one_part(
        "u2", "b", "5", str(SECONDS), delimiter="\t")},
    "csv and json": {"interactions/1.csv": FIRST, "interactions/2.jsonl":
        f'{{"ts": {SECONDS}, "user_id": "u2", "item_id": "b", "value": 5}}\n'},
    "csv and parquet": {"interactions/1.csv": FIRST,
                        "interactions/2.parquet": arrow("u2", "b", time("ms"))},
    "nested": {CSV + "1": FIRST, CSV + "x/y/2": one_part("u2", "b", "5", str(SECONDS))},
    "unknown column": {CSV + "1": FIRST, CSV + "2": one_part(
        "u2", "x", "b", "5", str(SECONDS), head="user_id,mood,item_id,value,ts")},
    "empty part": {CSV + "0": "", CSV + "1": FIRST, CSV + "2": one_part(
        "u2", "b", "5", str(SECONDS))},
    "header alone": {CSV + "0": HEAD + "\n", CSV + "1": FIRST, CSV + "2": one_part(
        "u2", "b", "5", str(SECONDS))},
    **{f"seconds and {unit}": {PARQUET + "1.parquet": arrow("u1", "a", SECONDS),
                               PARQUET + "2.parquet": arrow("u2", "b", time(unit))}
       for unit in ("s", "ms", "us", "ns")},
    **{f"ns and {unit} {zone}": {PARQUET + "1.parquet": arrow("u1", "a", time("ns")),
                                 PARQUET + "2.parquet": arrow("u2", "b", time(unit, zone))}
       for unit, zone in (("ms", None), ("us", "UTC"), ("us", "Asia/Tokyo"), ("ns", "UTC"))},
    "us, then ns": {PARQUET + "1.parquet": arrow("u1", "a", time("us")),
                    PARQUET + "2.parquet": arrow("u2", "b", time("ns"))},
    "int96": {PARQUET + "1.int96.parquet": arrow("u1", "a", time("ns")),
              PARQUET + "2.parquet": arrow("u2", "b", time("us"))},
    "texts as bytes": {PARQUET + "1.parquet": arrow("u1", "a", time("us")),
                       PARQUET + "2.parquet": arrow(b"u2", b"b", time("us"))},
    "categories": {PARQUET + "1.parquet": arrow("u1", "a", time("us")),
                   PARQUET + "2.parquet": arrow(pa.array(["u2"]).dictionary_encode(), "b", DAY)},
    "numbers as texts": {PARQUET + "1.parquet": arrow("u1", "a", SECONDS, 5),
                         PARQUET + "2.parquet": arrow("u2", "b", str(SECONDS), "5.0")},
    "hive": {"interactions.csv/value=5/1": one_part(
                 "u1", "a", str(SECONDS), head="user_id,item_id,ts"),
             "interactions.csv/value=5.0/2": one_part(
                 "b", "u2", str(SECONDS), head="item_id,user_id,ts")},
    "hive in parquet": {
        "interactions.parquet/day=1/1.parquet": arrow("u1", "a", time("us")),
        "interactions.parquet/day=2/hour=3/2.parquet": arrow("u2", "b", time("ns"))},
    "hive with odd types": {
        "interactions.parquet/user_id=u1/1.parquet": arrow("", b"a", time("us")).drop(["user_id"]),
        "interactions.parquet/user_id=u2/2.parquet": arrow("", "b", time("us")).drop(["user_id"])},
}  # fmt: skip


def test_parts_are_put_together_by_name(spark: SparkSession, tmp_path: Path) -> None:
    assert interactions(spark, tmp_path, ALIKE) == dict.fromkeys(ALIKE, ROWS)


REFUSED: dict[str, tuple[Files, str]] = {
    "no header": ({CSV + "1": FIRST, CSV + "2": f"u2,b,5,{SECONDS}\n"},
                  r"csv/2: column `user_id` is missing; found u2, b, 5, "),
    "no value": ({CSV + "1": FIRST, CSV + "2": one_part("u2", "b", str(SECONDS),
                                                       head="user_id,item_id,ts")},
                 r"csv/2: column `value` is missing, which .*csv/1 has"),
    "no time": ({CSV + "1": FIRST, CSV + "2": one_part("u2", "b", "5",
                                                      head="user_id,item_id,value")},
                r"csv/2: column `ts` is missing"),
    "doubled": ({CSV + "1": FIRST, CSV + "2": one_part("u2", "b", "5", "5", str(SECONDS),
                                                      head="user_id,item_id,value,Value,ts")},
                r"csv/2: column `value` is there more than once"),
    "bad byte": ({CSV + "1": FIRST, CSV + "2": FIRST.encode() + b"u\xe9,a,5,1\n"},
                 r"csv/2 line 3: byte 0xe9 is not UTF-8"),
    "fractions": ({PARQUET + "1.parquet": arrow("u1", "a", SECONDS),
                   PARQUET + "2.parquet": arrow(2.0, "b", SECONDS)},
                  r"2.parquet: column `user_id` holds fractions"),
    "no parquet": ({PARQUET + "1.parquet": arrow("u1", "a", SECONDS), PARQUET + "2": "PAR1 no"},
                   r"parquet/2 can't be read"),
    "hive and column": ({"interactions.csv/ts=1/1": FIRST},
                        r"ts=1/1: column `ts` is there more than once"),
    "keys of two cases": ({"items.jsonl": '{"item_id": "a", "title": "Oak", "genre": "tree"}\n'
                                          '{"item_id": "b", "title": "Elm", "Genre": "tree"}\n'},
                          r"items.jsonl: column `genre` is there more than once"),
    "keys of two cases in two parts": ({
        "items/1.jsonl": '{"item_id": "a", "title": "Oak", "genre": "tree"}\n',
        "items/2.jsonl": '{"item_id": "b", "title": "Elm", "Genre": "tree"}\n'},
        r"1.jsonl: column `genre` is there more than once"),
    "nested bytes": ({PARQUET + "1.parquet": arrow("u1", "a", SECONDS, tags=pa.array([[b"x"]]))},
                     r"1.parquet: column `tags` has the type list"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_part_that_does_not_fit_is_named(spark: SparkSession, tmp_path: Path, case: str) -> None:
    files, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        source(tmp_path, files).read(spark)


ID = uuid.UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")
BYTES: list[tuple[pa.Array, str]] = [
    (pa.array([ID.bytes], pa.uuid()), str(ID)),
    (pa.array([ID.bytes], pa.binary()), str(ID)),
    (pa.array([ID.bytes], pa.binary(16)), str(ID)),
    (pa.array([ID.bytes], pa.large_binary()), str(ID)),
    (pa.array([b"\xff\x00\x01"]), "ff0001"),
    (pa.array([b"\x00\x01\x02"]), "000102"),
    (pa.array([bytes(range(12))], pa.binary(12)), "000102030405060708090a0b"),
    (pa.array(["Zoë".encode()]), "Zoë"),
    (pa.array([b"sixteen letters!"], pa.binary(16)), "sixteen letters!"),
    (pa.array([7], pa.uint64()), "7"),
    (pa.array([-7], pa.int8()), "-7"),
    (pa.array(["u"], pa.large_string()), "u"),
    (pa.array([ID.bytes]).dictionary_encode(), str(ID)),
]


def test_ids_of_any_type_are_readable(spark: SparkSession, tmp_path: Path) -> None:
    cases: dict[str, Files] = {
        str(place): {"interactions.parquet": arrow(ids, "a", SECONDS)}
        for place, (ids, _) in enumerate(BYTES)
    }
    found = interactions(spark, tmp_path, cases)
    users = [user for case in cases for user, *_ in found[case]]
    assert users == [expected for _, expected in BYTES]


def test_a_text_of_parquet_that_is_not_utf_8_costs_its_row(
    spark: SparkSession, tmp_path: Path
) -> None:
    texts = pa.array([b"Caf\xe9", b"Caf\xc3\xa9"]).view(pa.string())
    table = pa.table({"item_id": ["a", "b"], "title": texts})
    found = judged(spark, tmp_path, {"items.parquet": table})
    assert [row["title"] for row in found.good.toArrow().to_pylist()] == ["Café"]
    (bad,) = found.rejected.toArrow().to_pylist()
    assert bad["reason"] == "title is not valid UTF-8"
    assert '"item_id":"a"' in bad["row"]


PATHS = [("shop [1]", ""), ("shop*", ".gz"), ("{shopA,shopB}", ".bz2"), ("shop?", ".zst"),
         ("my%20shop", ".GZ"), ("é\\b", ""), ("a:b", ""), ("shop#1", ".gz")]  # fmt: skip


def test_paths_are_no_patterns(
    spark: SparkSession, tmp_path: Path, pack: Callable[[str, bytes], bytes]
) -> None:
    source(tmp_path / "shopB", {"interactions.csv": one_part("uB", "a", "5", str(SECONDS))})
    cases: dict[str, Files] = {
        name: {f"interactions.csv{ending}": pack(ending, FIRST.encode())} for name, ending in PATHS
    }
    expected = {row for row in ROWS if row[0] == "u1"}
    assert interactions(spark, tmp_path, cases) == dict.fromkeys(cases, expected)


def test_a_column_of_some_parts_is_an_attribute(spark: SparkSession, tmp_path: Path) -> None:
    files: Files = {
        "items/1.parquet": pa.table({"item_id": ["a"], "title": ["Oak"]}),
        "items/2.parquet": pa.table({"item_id": ["b"], "title": ["Elm"], "genre": ["tree"]}),
        "items/3.jsonl": '{"item_id": "c", "title": "Ash", "Genre": "tree"}\n',
        "items/genre=tree/4.csv": "title,item_id\nFir,d\n",
        "items/genre=__HIVE_DEFAULT_PARTITION__/5.csv": "title,item_id\nYew,e\n",
    }
    rows = judged(spark, tmp_path, files).good.toArrow().to_pylist()
    tree = [("genre", "tree")]
    assert {row["item_id"]: row["attributes"] for row in rows} == {
        "a": [], "b": tree, "c": tree, "d": tree, "e": [],
    }  # fmt: skip
