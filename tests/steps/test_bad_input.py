"""Bad usage and bad input, each with the exit code 2 and the words that its one line must have."""

import gzip
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from staging import RIGHT, ingested, publish_night

from jobs.cli import main

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# arguments, and words of the message; W is a published warehouse, beside which the FILES lie
Case = tuple[str, str]

FILES: dict[str, bytes] = {
    "unknown.toml": b"colour = 1\n",
    "truth.toml": b"k = true\n",
    "rate.toml": b"learning_rate = true\n",
    "text.toml": b'k = "5"\n',
    "range.toml": b"k = 0\n",
    "nan.toml": b"positive_threshold = nan\n",
    "list.toml": b"k = [5]\n",
    "table.toml": b"[k]\na = 1\n",
    "torn.toml": b"k = \n",
    "twice.toml": b"k = 1\nk = 2\n",
    "bytes.toml": b"k = 1 # \xff\n",
    "memory.toml": b'spark_memory = "3 gigabytes"\n',
    "columns.toml": b'[columns]\ncolour = "c"\n',
    "empty/nothing.txt": b"",
    "latin/interactions.csv": b"user_id,item_id\nJos\xe9,a\n",
    "quote/interactions.csv": b'user_id,item_id\n"u,a\nv,b\n',
    "no-user/interactions.csv": b"who_knows,item_id\nu,a\n",
    "blank/interactions.csv": b"",
    "twice/interactions.csv": b"user_id,user_id,item_id\nu,v,a\n",
    "gz/interactions.csv.gz": gzip.compress(b"user_id,item_id\nu,a\n" * 99)[:40],
    "no-gz/interactions.csv.gz": b"user_id,item_id\nu,a\n",
    "no-bz/interactions.csv.bz2": b"user_id,item_id\nu,a\n",
    "torn/interactions.parquet": b"PAR1 torn PAR1",
    "kind/interactions.xlsx": b"PK",
    "json/interactions.jsonl": b'{"user_id": "u", "item_id"\n',
    "file.csv": b"user_id,item_id\nu,a\n",
}
USAGE: list[Case] = [
    ("fly", "No such command 'fly'"),
    ("train --colour red", "No such option"),
    ("ingest", "Missing argument 'SOURCE"),
    ("sql", "Missing argument 'QUERY'"),
    ("diff 2026-01-05", "Missing argument 'DATE'"),
    ("train --config nowhere.toml", "nowhere.toml can't be read"),
    ("train --config .", "can't be read"),
    ("train --config unknown.toml", "unknown setting `colour` in unknown.toml"),
    ("train --config truth.toml", "setting `k` from truth.toml"),
    ("train --config rate.toml", "setting `learning_rate` from rate.toml"),
    ("train --config text.toml", "setting `k` from text.toml"),
    ("train --config range.toml", "setting `k` from range.toml"),
    ("train --config nan.toml", "setting `positive_threshold` from nan.toml"),
    ("train --config list.toml", "setting `k` from list.toml"),
    ("train --config table.toml", "setting `k` from table.toml"),
    ("train --config torn.toml", "torn.toml is no TOML"),
    ("train --config twice.toml", "twice.toml is no TOML"),
    ("train --config bytes.toml", "bytes.toml can't be read"),
    ("score --config memory.toml", "setting `spark_memory` from memory.toml"),
    ("train --epochs 0", "setting `epochs` from flag"),
    ("train --epochs 1.5", "setting `epochs` from flag"),
    ("train --epochs many", "setting `epochs` from flag"),
    ("train --learning-rate nan", "setting `learning_rate` from flag"),
    ("train --split hot", "setting `split` from flag"),
    ("score --k 1001", "setting `k` from flag"),
    ("score --k -1", "setting `k` from flag"),
    ("score --spark-memory 0g", "setting `spark_memory` from flag"),
    ("score --asked tomorrow", "setting `asked` from flag"),
    ("score --device tpu", "setting `device` from flag"),
    ("score --incremental perhaps", "setting `incremental` from flag"),
    ("maintain --keep-nights 0", "setting `keep_nights` from flag"),
    ("maintain --keep-days 1", "setting `keep_days` from flag"),
    ("promote --promote-tolerance 2", "setting `promote_tolerance` from flag"),
    ("export --parity-tolerance inf", "setting `parity_tolerance` from flag"),
    ("ingest ml-100k --max-rejected-share -0.1", "setting `max_rejected_share` from flag"),
    ("sql SELECT --sql-rows 0", "setting `sql_rows` from flag"),
    ("models --warehouse s3:/bucket/w", "neither a folder nor a URI"),
    ("models --warehouse file://elsewhere/w", "neither a folder nor a URI"),
    ("models --warehouse a%20b", "Delta can't have '%' in a path"),
    ("train --warehouse s3://bucket/w --epochs 0", "setting `epochs` from flag"),
]
PLACES: list[Case] = [
    ("train", "table `interactions` not found under"),
    ("evaluate", "no candidate yet: run `nightrank train`"),
    ("export", "no candidate yet"),
    ("promote", "no candidate yet"),
    ("active-learning", "no candidate yet"),
    ("score", "table `interactions` not found"),
    ("score --run-date 2026-01-05", "no champion yet"),
    ("publish", "table `interactions` not found"),
    ("publish --run-date 2026-01-05", "night 2026-01-05 isn't staged"),
    ("rollback", "no tables under"),
    ("maintain", "no tables under"),
    ("doctor", "no tables under"),
    ("diff 2026-01-04 2026-01-05", "no tables under"),
    ("sql 'SELECT 1'", "no tables under"),
]
INPUT: list[Case] = [
    ("ingest nowhere --warehouse W", "nowhere"),
    ("ingest empty nowhere --warehouse W", "empty"),
    ("ingest items=nowhere --warehouse W", "nowhere"),
    ("ingest items=loop --warehouse W", "loop"),
    ("ingest triples=file.csv.xz --warehouse W", "file.csv.xz"),
    ("ingest orders=file.csv --warehouse W", "orders=file.csv"),
    ("ingest drops/{run_date} --warehouse W", "{run_date} stands for --run-date"),
    ("ingest drops/{run_date} --run-date today --warehouse W", "--run-date 'today'"),
    ("ingest duckdb:///nowhere.duckdb --warehouse W", "duckdb:///nowhere.duckdb"),
    ("ingest duckdb:///file.csv --warehouse W", "duckdb:///file.csv"),
    ("ingest 'duckdb:///x.duckdb#events' --warehouse W", "interactions=duckdb:///x.duckdb#events"),
    ("ingest 'items=sqlite:///nowhere/x.db#goods' --warehouse W", "sqlite:///nowhere/x.db"),
    ("ingest postgresql://me:secret@localhost:1/shop --warehouse W", "***@localhost:1/shop"),
    ("ingest mssql+nothing://h/shop --warehouse W", "mssql+nothing://h/shop"),
    ("ingest '' --warehouse W", "source"),
    ("ingest empty --warehouse W", "empty"),
    ("ingest file.csv --warehouse W", "file.csv"),
    ("ingest loop --warehouse W", "loop"),
    ("ingest dangling --warehouse W", "dangling"),
    ("ingest ml-100k --column user_id --warehouse W", "user_id"),
    ("ingest ml-100k --column colour=c --warehouse W", "colour"),
    ("ingest ml-100k --config columns.toml --warehouse W", "colour"),
    ("publish --run-date yesterday --warehouse W", "--run-date 'yesterday': expected a date"),
    ("publish --run-date 2026-02-30 --warehouse W", "--run-date '2026-02-30'"),
    ("publish --run-date 20260105 --warehouse W", "--run-date '20260105'"),
    ("publish --run-date 9999-12-31 --warehouse W", "--run-date '9999-12-31'"),
    ("publish --run-date 2026-03-01 --warehouse W", "night 2026-03-01 isn't staged"),
    ("score --run-date \u0662026-01-05 --warehouse W", "--run-date"),
    ("score --warehouse W", "no champion yet: run `nightrank promote`"),
    ("rollback --warehouse W", "no night before 2026-01-05 is published"),
    ("rollback --to 2025-01-01 --warehouse W", "--to 2025-01-01: that night isn't published"),
    ("rollback --to never --warehouse W", "--to 'never': expected a date"),
    ("rollback --from 2025-01-01 --warehouse W", "--from 2025-01-01: the visible night is"),
    ("diff 2026-01-05 2026-01-06 --warehouse W", "night 2026-01-06 has no rows"),
    ("diff x y --warehouse W", "DATE 'x': expected a date"),
    ("export --model-version ../evil --warehouse W", "expected letters, digits and hyphens"),
    ("export --model-version nope --warehouse W", "nope"),
    ("promote nope --warehouse W", "nope"),
    ("evaluate --model-version nope --warehouse W", "nope"),
    ("sql 'SELEKT 1' --warehouse W", "query: Parser Error"),
    ("sql '' --warehouse W", "query: expected one statement, got 0"),
    ("sql 'SELECT 1; SELECT 2' --warehouse W", "query: expected one statement, got 2"),
    ("sql 'DROP TABLE runs' --warehouse W", "`nightrank sql` only reads"),
    ("sql 'SELECT * FROM colours' --warehouse W", "query: Catalog Error"),
    ("sql 'SELECT colour FROM runs' --warehouse W", "query: Binder Error"),
    ("""sql "SELECT * FROM read_csv('file.csv')" --warehouse W""", "query: Permission Error"),
    ("sql 'SELECT 1/0 + error(1)' --warehouse W", "query:"),
    ("sql 'FROM range(9)' --sql-rows 8 --warehouse W", "more than 8 rows, setting `sql_rows`"),
]
SOURCES: list[Case] = [
    (f"ingest {folder} --warehouse W", words)
    for folder, words in (
        ("latin", "interactions.csv line 2"),
        ("quote", "interactions.csv"),
        ("no-user", "user_id"),
        ("blank", "interactions.csv"),
        ("twice", "user_id"),
        ("gz", "interactions.csv.gz"),
        ("no-gz", "interactions.csv.gz"),
        ("no-bz", "interactions.csv.bz2"),
        ("torn", "interactions.parquet"),
        ("kind", "interactions.xlsx"),
    )
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published warehouse, the FILES and two links that lead nowhere."""
    folder = tmp_path_factory.mktemp("bad")
    publish_night(ingested(folder), RIGHT)
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("gone")
    return folder


@pytest.fixture(autouse=True)
def _unchanged(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand in that folder; afterwards only the record of runs and the locks may be others."""
    monkeypatch.chdir(place)
    before = _files(place)
    yield
    assert _files(place) == before


def _files(place: Path) -> dict[str, int]:
    return {
        str(path): path.stat().st_size
        for path in place.rglob("*")
        if path.is_file() and not {"runs", ".locks"} & set(path.parts)
    }


def refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    given = ["warehouse" if one == "W" else one for one in shlex.split(arguments)]
    with pytest.raises(SystemExit) as stop:
        main(given)
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("nightrank: ")]
    assert (stop.value.code, len(lines), told.out) == (2, 1, ""), told
    assert "Traceback" not in told.err
    return lines[0]


@pytest.mark.parametrize(("arguments", "words"), [*USAGE, *INPUT], ids=lambda text: text[:60])
def test_bad_usage_and_bad_input_are_refused_in_one_line(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(arguments, capsys)


@pytest.mark.parametrize(("arguments", "words"), PLACES, ids=lambda text: text[:60])
def test_a_mistyped_warehouse_is_refused_and_not_made(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(f"{arguments} --warehouse typo", capsys)
    assert not Path("typo").exists()


def test_bad_sources_are_refused_in_one_line_that_names_the_file(
    spark: "SparkSession", capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in SOURCES:
        assert words in refused(arguments, capsys), arguments
