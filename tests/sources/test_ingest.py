"""ingest: the slice of MovieLens, bad rows, bad sources, repetition, and ids of any characters."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs.cli import main
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import ingest
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import (
    INTERACTIONS,
    ITEM_ENTITY,
    ITEMS,
    REJECTED_ROWS,
    RUNS,
    TABLES,
    TRIPLES,
    USERS,
)
from models.errors import InputError

ODD_IDS = [
    'O\'Neil "the" 1st',
    "two\nlines",
    "carriage\r\nreturn",
    "tab\tand, comma; {brace} \\n",
    "\N{PILE OF POO}\N{GOTHIC LETTER AHSA}",
    " blanks around ",
    "null",
    "007",
]
ITEM_ROWS = [["item_id", "title"], ["x", "X (1999)"], ["y", "Y (2000)"]]
HEADER = ["user_id", "item_id", "rating", "timestamp"]


def write_csv(path: Path, rows: list[list[Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def versions(warehouse: Warehouse) -> dict[str, int]:
    """Return the version of every table but `runs`."""
    return {name: warehouse.version(name) for name in TABLES
            if name != RUNS and warehouse.exists(name)}  # fmt: skip


def rejected(warehouse: Warehouse) -> list[tuple[str, str]]:
    rows = warehouse.read(REJECTED_ROWS).to_pylist()
    return sorted((row["table"], row["reason"]) for row in rows)


def test_the_slice_is_there_row_for_row(ingested: Path, movielens_folder: Path) -> None:
    warehouse = Warehouse(str(ingested))
    with (movielens_folder / "slice.inter").open() as file:
        lines = list(csv.reader(file, delimiter="\t"))[1:]
    expected = {(user, item, float(value), int(ts)) for user, item, value, ts in lines}
    rows = warehouse.read(INTERACTIONS).to_pylist()
    found = {(r["user_id"], r["item_id"], r["value"], int(r["ts"].timestamp())) for r in rows}
    assert found == expected
    assert len(rows) == len(lines)
    assert warehouse.read(REJECTED_ROWS).num_rows == 0
    run = warehouse.read(RUNS).to_pylist()[-1]
    assert (run["step"], run["status"]) == ("ingest", "succeeded")
    assert dict(run["rows"])[INTERACTIONS] == len(lines)


def test_films_people_and_links_read_well(ingested: Path) -> None:
    warehouse = Warehouse(str(ingested))
    films = {row["item_id"]: row for row in warehouse.read(ITEMS).to_pylist()}
    assert films["1"]["title"] == "Toy Story (1995)"
    assert films["1"]["text"].startswith("Genres: Animation, Children's, Comedy")
    assert "Directed by John Lasseter." in films["1"]["text"]
    assert dict(films["1"]["attributes"])["genres"] == "Animation, Children's, Comedy"
    assert films["12"]["title"] == "The Usual Suspects (1995)"
    assert all(film["available"] for film in films.values())
    people = {row["user_id"]: row for row in warehouse.read(USERS).to_pylist()}
    assert people["1"]["text"] == "24 year old male technician"
    assert dict(people["1"]["attributes"])["zip_code"] == "85711"
    links = warehouse.read(TRIPLES).to_pylist()
    assert {link["relation"] for link in links} == {ITEM_ENTITY}
    assert {link["head"] for link in links} <= films.keys()


def test_a_second_ingest_changes_no_table(movielens: Settings, movielens_folder: Path) -> None:
    warehouse = Warehouse(movielens.warehouse)
    before = versions(warehouse)
    result = ingest.run(Context.of(movielens), str(movielens_folder))
    assert versions(warehouse) == before
    assert all(one["new"] == one["changed"] == 0 for one in result["tables"].values())


BAD = [
    (["", "x", "4", "100"], "user_id is empty"),
    (["a", "  ", "4", "100"], "item_id is empty"),
    (["a", "x", "four", "100"], "value is not a finite number"),
    (["a", "x", "NaN", "100"], "value is not a finite number"),
    (["a", "x", "-inf", "100"], "value is not a finite number"),
    (["a", "x", "", "100"], "value is not a finite number"),
    (["a", "x", "4", "soon"], "ts is neither seconds since 1970 nor an ISO 8601 time"),
    (["a", "x", "4", "12:30:00"], "ts is neither seconds since 1970 nor an ISO 8601 time"),
    (["a", "x", "4", ""], "ts is neither seconds since 1970 nor an ISO 8601 time"),
    (["a", "x", "4", "-1"], "ts is not between 1970-01-01 and 2100-01-01"),
    (["a", "x", "4", "4102444800"], "ts is not between 1970-01-01 and 2100-01-01"),
    (["a", "x", "4", "1260759144000"], "ts is not between 1970-01-01 and 2100-01-01"),
    (["a", "x", "4", "1e300"], "ts is not between 1970-01-01 and 2100-01-01"),
    (["a", "x", "4", "1969-12-31T23:59:59Z"], "ts is not between 1970-01-01 and 2100-01-01"),
    (["a", "nowhere", "4", "100"], "item_id is not among the items"),
    (["a", "x"], "the row can't be parsed"),
    (["a", "x", "4", "100", "more"], "the row can't be parsed"),
    (["twice", "x", "3", "100"], "another row of this source has the same user_id, item_id, ts"),
]
GOOD = [
    *([name, "x", "4.5", "1260759144"] for name in ODD_IDS),
    ["twice", "x", "5", "100"],
    ["same", "x", "1", "2009-12-14 02:52:24"],
    ["same", "x", "1", "1260759144"],
    ["zone", "x", "1", "2009-12-14T04:52:24.5+02:00"],
    ["edge", "y", "-1e9", "0"],
]


def test_bad_rows_are_kept_with_their_reasons(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    write_csv(source / "interactions.csv", [HEADER, *GOOD, *(row for row, _ in BAD)])
    items = [*ITEM_ROWS, ["mute", " "], ["", "Nameless"], ["x", "X (1999)"], ["y", "A other"]]
    write_csv(source / "items.csv", items)
    settings = Settings(warehouse=warehouse.root)
    result = ingest.run(Context.of(settings), str(source))

    reasons = [reason.split(";")[0] for _, reason in rejected(warehouse) if _ == INTERACTIONS]
    assert Counter(reasons) == Counter(reason for _, reason in BAD)
    assert [reason for table, reason in rejected(warehouse) if table == ITEMS] == [
        "another row of this source has the same item_id",
        "item_id is empty",
        "title and text are both empty",
    ]
    assert result["rejected"] == len(BAD) + 3
    rows = {row["row"] for row in warehouse.read(REJECTED_ROWS).to_pylist()}
    assert any(json.loads(row) == dict(zip(HEADER, BAD[2][0], strict=True)) for row in rows
               if row.startswith("{"))  # fmt: skip

    kept = {(r["user_id"], r["item_id"], r["value"], r["ts"].timestamp())
            for r in warehouse.read(INTERACTIONS).to_pylist()}  # fmt: skip
    assert kept == {
        *((name, "x", 4.5, 1260759144.0) for name in ODD_IDS),
        ("twice", "x", 5.0, 100.0),
        ("same", "x", 1.0, 1260759144.0),
        ("zone", "x", 1.0, 1260759144.5),
        ("edge", "y", -1e9, 0.0),
    }
    before = versions(warehouse)
    assert ingest.run(Context.of(settings), str(source))["ingest_id"] == result["ingest_id"]
    assert versions(warehouse) == before


def test_a_later_source_changes_what_it_says_otherwise(movielens: Settings, tmp_path: Path) -> None:
    warehouse = Warehouse(movielens.warehouse)
    count = warehouse.read(ITEMS).num_rows
    before = warehouse.version(USERS)
    rows = [["item_id", "title", "available", "features", "Price band"],
            ["1", "Toys", "false", "[0.5, -1e-3]", "low|mid"],
            ["new", "New", "", "", ""],
            ["odd", "Odd", "maybe", "1 two", ""]]  # fmt: skip
    write_csv(tmp_path / "more" / "items.csv", rows)
    result = ingest.run(Context.of(movielens), str(tmp_path / "more"))
    assert result["tables"][ITEMS] | {"version": 0} == {
        "new": 1, "changed": 1, "removed": 0, "total": count + 1, "version": 0,
    }  # fmt: skip
    items = {row["item_id"]: row for row in warehouse.read(ITEMS).to_pylist()}
    assert items["1"] == {
        "item_id": "1",
        "title": "Toys",
        "text": "Price band: low, mid.",
        "attributes": [("Price band", "low|mid")],
        "available": False,
        "features": pytest.approx([0.5, -0.001]),
    }
    assert items["new"]["available"]
    assert items["new"]["features"] is None
    assert rejected(warehouse) == [
        (ITEMS, "available is neither true nor false; features is not a list of finite numbers")
    ]
    assert warehouse.version(USERS) == before


def bad_source(folder: Path, case: str) -> None:
    """Write a source that is bad as a whole."""
    row = ["1", "x", "4", "100"]
    tables = {"items": ITEM_ROWS, "interactions": [HEADER, row]}
    tables |= {
        "unknown column": {"triples": [["head", "relation", "tail", "mood"], ["a", "r", "b", ""]]},
        "missing column": {"interactions": [HEADER[:3], row[:3]]},
        "doubled column": {"interactions": [[*HEADER, "Rating"], [*row, "4"]]},
        "two names": {"interactions": [[*HEADER, "value"], [*row, "4"]]},
        "wordless items": {"items": [["item_id", "genre"], ["x", "g"]]},
        "header alone": {"interactions": [HEADER]},
        "all bad": {"interactions": [HEADER, ["1", "x", "four", "100"]]},
        "lonely": {"interactions": [HEADER, ["1", "nowhere", "4", "100"]]},
    }.get(case, {})
    for name, rows in tables.items():
        write_csv(folder / f"{name}.csv", rows)
    if case == "no bytes":
        (folder / "interactions.csv").write_bytes(b"")
    if case == "unknown format":
        (folder / "users.xlsx").touch()
    if case == "two files":
        (folder / "interactions.jsonl").touch()
    if case == "damaged parquet":
        (folder / "users.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    if case == "untyped header":
        (folder / "a.kg").write_text("head_id\trelation_id\ttail_id\n")
    if case == "no JSON":
        (folder / "users.jsonl").write_text("user_id\n1\n")
    if case == "empty folder":
        shutil.rmtree(folder)
        folder.mkdir()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknown column", r"triples.csv: unknown column `mood`; expected head, relation, tail"),
        ("missing column", r"interactions.csv: column `ts` is missing; found user_id, "),
        ("doubled column", r"interactions.csv: column `rating` is there more than once"),
        ("two names", r"interactions.csv: columns `rating` and `value` are both `value`"),
        ("wordless items", r"items.csv: column `title` or `text` is missing"),
        ("header alone", r"interactions.csv is empty: it holds no row of table `interactions`"),
        ("all bad", r"interactions.csv: all 1 rows .* bad; for example .*four.*: value is not"),
        ("lonely", r"interactions.csv: all 1 rows .*nowhere.*: item_id is not among the items"),
        ("no bytes", r"interactions.csv is empty: expected a line with the names"),
        ("unknown format", r"users.xlsx: unknown format; expected users as .csv .tsv "),
        ("two files", r"interactions.csv and .*interactions.jsonl are both table `interactions`"),
        ("damaged parquet", r"users.parquet can't be read: "),
        ("untyped header", r"a.kg: column `head_id` should be name:type"),
        ("no JSON", r"users.jsonl holds no JSON objects"),
        ("empty folder", r"source holds none of interactions, items, users, triples as "),
    ],
)
def test_a_bad_source_leaves_everything_as_it_was(
    spark: SparkSession, warehouse: Warehouse, tmp_path: Path, case: str, message: str
) -> None:
    folder = tmp_path / "source"
    bad_source(folder, case)
    with pytest.raises(InputError, match=message):
        ingest.run(Context.of(Settings(warehouse=warehouse.root)), str(folder))
    assert not Path(warehouse.root).exists()


def test_the_command_line_refuses_in_one_line(
    movielens: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = Warehouse(movielens.warehouse)
    before = versions(warehouse)
    bad_source(tmp_path / "source", "unknown column")
    for source, named in ((tmp_path / "source", "`mood`"), (tmp_path / "absent", "not found")):
        with pytest.raises(SystemExit) as exit_:
            main(["ingest", str(source), "--warehouse", movielens.warehouse])
        assert exit_.value.code == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("nightrank: ")
        assert str(source) in line
        assert named in line
    assert versions(warehouse) == before
    failed = [run for run in warehouse.read(RUNS).to_pylist() if run["status"] == "failed"]
    assert len(failed) == 2


@pytest.mark.parametrize("below", ["file", "file/warehouse", "/proc/nightrank"])
def test_a_warehouse_that_cannot_be_written_is_refused(
    movielens_folder: Path, tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    root = str(tmp_path / below)
    with pytest.raises(InputError, match=f"warehouse {root} can't be written"):
        ingest.run(Context.of(Settings(warehouse=root)), str(movielens_folder))


def test_every_type_of_a_table_has_its_place_in_arrow() -> None:
    for table in TABLES.values():
        assert isinstance(table.arrow_schema, pa.Schema)
        assert {*table.key, *table.partition_by} <= {*table.column_names}
