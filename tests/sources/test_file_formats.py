"""Every format says the same: one table written in each, read back, judged, and compared."""

import csv
import datetime as dt
import gzip
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs.sources.columns import RawTable, union
from jobs.sources.file_formats import read_file
from jobs.sources.folder import FolderSource
from jobs.sources.validation import check
from jobs.warehouse.tables import INTERACTIONS, ITEM_ENTITY, ITEMS, TRIPLES
from models.errors import InputError

IDS = ['"quoted" O\'Neil', "two\nlines", "crlf\r\nend", "\N{PILE OF POO}", "back\\slash", "1"]
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
ROWS = [
    {"user_id": user, "item_id": str(n), "value": n / 2, "ts": 1_260_759_144 + n}
    for n, user in enumerate(IDS)
]
EXPECTED = {
    (row["user_id"], row["item_id"], row["value"], dt.datetime.fromtimestamp(row["ts"], dt.UTC))
    for row in ROWS
}


def read(spark: SparkSession, table: str, path: Path) -> RawTable:
    groups = read_file(spark, path, table)
    frame = union(table, [one.origin for one in groups], [one.frame for one in groups])
    return RawTable(table, path.name, frame)


def delimited(path: Path, delimiter: str, start: str = "", end: str = "\n") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(start)
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(ROWS)


def json_lines(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")


def packed(path: Path) -> None:
    content = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    path.write_bytes(
        gzip.compress(content)
        if path.suffix == ".gz"
        else pa.compress(content, codec="zstd", asbytes=True)
    )


def parquet(path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    frame["ts"] = pd.to_datetime(frame["ts"], unit="s")  # nanoseconds, without a zone
    frame["item_id"] = frame["item_id"].astype("int64")
    frame.to_parquet(path)


def part_files(path: Path) -> None:
    path.mkdir()
    frame = pd.DataFrame(ROWS)
    frame[:2].to_parquet(path / "part-0.parquet")
    frame[2:].to_parquet(path / "part-1.parquet")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("interactions.csv", lambda path: delimited(path, ",")),
        (
            "interactions.csv",
            lambda path: delimited(path, ",", BYTE_ORDER_MARK, "\r\n"),
        ),
        ("interactions.tsv", lambda path: delimited(path, "\t")),
        ("interactions.jsonl", json_lines),
        ("interactions.ndjson.gz", packed),
        ("interactions.jsonl.zst", packed),
        ("interactions.parquet", parquet),
        ("interactions.parquet", part_files),
    ],
)
def test_the_format_does_not_matter(
    spark: SparkSession, tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    raw = read(spark, INTERACTIONS, tmp_path / name)
    rows = check(raw, "id").good.toArrow().to_pylist()
    found = {(row["user_id"], row["item_id"], row["value"], row["ts"]) for row in rows}
    assert found == EXPECTED


def test_atomic_files_have_typed_headers_and_no_quotes(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.inter").write_text(
        'user_id:token\titem_id:token\trating:float\ttimestamp:float\n"u\ti\t3.5\t100.0\n'
    )
    (tmp_path / "a.item").write_text(
        'item_id:token\tmovie_title:token_seq\tfeatures:float_seq\ni\tA "B" C\t0.5 1\n'
    )
    (tmp_path / "a.kg").write_text("head_id:token\trelation_id:token\ttail_id:token\nm\tr\tn\n")
    (tmp_path / "a.link").write_text("item_id:token\tentity_id:token\ni\tm\n")
    rows = {
        raw.name: check(raw, "id").good.toArrow().to_pylist()
        for raw in FolderSource(tmp_path).read(spark)
    }
    assert [(row["user_id"], row["value"]) for row in rows[INTERACTIONS]] == [('"u', 3.5)]
    assert rows[ITEMS][0]["title"] == 'A "B" C'
    assert rows[ITEMS][0]["features"] == [0.5, 1.0]
    triples = {(row["head"], row["relation"], row["tail"]) for row in rows[TRIPLES]}
    assert triples == {("m", "r", "n"), ("i", ITEM_ENTITY, "m")}


def test_structures_become_attributes_and_text(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        {"item_id": 1, "title": "A", "attributes": {"b": "2", "a": 1}, "features": [1, 0.5],
         "genres": ["Drama", "War"], "price": math.nan, "text": "Plot."},
        {"item_id": 2, "title": "B", "features": None, "genres": [], "text": None},
        {"item_id": 3, "title": "C", "features": [1, "NaN"]},
        {"item_id": 4, "title": "D", "attributes": '{"a": 1, "a": 2}'},
    ]  # fmt: skip
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no json\n", "utf-8")
    table = check(read(spark, ITEMS, path), "id")
    good = {row["item_id"]: row for row in table.good.toArrow().to_pylist()}
    assert good.keys() == {"1", "2"}
    assert dict(good["1"]["attributes"]) == {"genres": "Drama, War", "a": "1", "b": "2"}
    assert good["1"]["text"] == "Plot. Genres: Drama, War."
    assert good["1"]["features"] == [1.0, 0.5]
    assert good["2"]["text"] == ""
    bad = {(row["reason"].split(";")[0], row["row"][:7]) for row in table.rejected.collect()}
    assert bad == {
        ("features is not a list of finite numbers", '{"featu'),
        ("the row can't be parsed", "no json"),
        ("attributes is not a JSON object with distinct keys", '{"attri'),
    }


@pytest.mark.parametrize(
    ("ids", "words"),
    [([1.0, None], "fractions"), ([{"id": 1}, None], "structures"), ([["u"], ["v"]], "structures")],
)
def test_ids_that_are_no_texts_are_refused(
    spark: SparkSession, tmp_path: Path, ids: list[object], words: str
) -> None:
    path = tmp_path / "interactions.parquet"
    pd.DataFrame({"user_id": ids}).to_parquet(path)
    with pytest.raises(InputError, match=rf"interactions.parquet: column `user_id` holds {words}"):
        read_file(spark, path, INTERACTIONS)


def test_what_is_no_id_in_json_rejects_its_row(spark: SparkSession, tmp_path: Path) -> None:
    users = ["u", {"id": "v"}, 3, 4.0, math.nan, -math.inf, "NaN", "\ud83d", "\ud83e", "\U0001f600"]
    rows = [{"user_id": one, "item_id": "a", "value": 1, "ts": 1} for one in users]
    path = tmp_path / "interactions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    table = check(read(spark, INTERACTIONS, path), "id")
    found = {row["user_id"] for row in table.good.toArrow().to_pylist()}
    assert found == {"u", "3", "\U0001f600"}
    reasons = Counter(row["reason"].split(",")[0] for row in table.rejected.collect())
    assert reasons == {
        "user_id is a structure of JSON": 1,
        "user_id is a whole number written as a fraction": 1,
        "user_id is empty": 2,
        "user_id is missing: it is the NaN of a number": 1,
        "user_id is not valid UTF-8": 2,
    }


def test_a_fraction_is_no_id_by_its_name_alone(spark: SparkSession, tmp_path: Path) -> None:
    names = ["amount_paid", "grid", "head", "account_id", "user_id"]
    pd.DataFrame({"item_id": ["a"], "title": ["Oak"], **dict.fromkeys(names, 1.5)}).to_parquet(
        tmp_path / "items.parquet"
    )
    (row,) = check(read(spark, ITEMS, tmp_path / "items.parquet"), "id").good.toArrow().to_pylist()
    assert dict(row["attributes"]) == dict.fromkeys(names, "1.5")
