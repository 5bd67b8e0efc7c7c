"""Queries through DuckDB and through Spark: the same tables, the same views, nothing else."""

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from staging import ODD, RIGHT, ingest, ingested, publish_night

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import sql
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.views import register_views
from models.errors import InputError


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = ingested(tmp_path_factory.mktemp("sql"))
    publish_night(made, RIGHT)
    return made


def test_titles_stand_beside_the_published_night(settings: Settings) -> None:
    result = sql.run(
        Context.of(settings), "SELECT * FROM recommendations_named ORDER BY user_id, rank"
    )
    assert result["columns"] == [
        "run_date", "user_id", "rank", "item_id", "title", "score", "reason",
        "reason_items", "model_version",
    ]  # fmt: skip
    assert [row[1:5] for row in result["rows"]] == [
        ["ada", 1, "b", "B\tb"],
        [ODD, 1, "a", "Ä"],
        [ODD, 2, "b", "B\tb"],
    ]


def test_people_read_an_aligned_table(settings: Settings) -> None:
    query = "SELECT user_id AS who, rank, score, title FROM recommendations_named ORDER BY 1, 2"
    assert sql.run(Context.of(settings), query)["text"].splitlines() == [
        "who        rank  score  title",
        "---------  ----  -----  -----",
        "ada           1    0.5  B\\tb",
        "o'dd\\n\"😀     1   0.75  Ä",
        "o'dd\\n\"😀     2    0.5  B\\tb",
        "(3 rows)",
    ]


def test_no_rows_still_show_the_columns(settings: Settings) -> None:
    result = sql.run(Context.of(settings), "SELECT rank FROM recommendations WHERE rank > 9")
    assert result["text"] == "rank\n----\n(0 rows)"


@pytest.mark.parametrize("name", ["interactions", "items", "users", "runs", "recommendations"])
def test_every_table_answers(settings: Settings, name: str) -> None:
    assert sql.run(Context.of(settings), f"SELECT count(*) > 0 FROM {name}")["rows"] == [[True]]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "query: Parser Error: syntax error at or near"),
        ("SELECT * FROM nope", "query: Catalog Error: Table with name nope"),
        ("", "expected one statement, got 0"),
        ("SELECT 1; SELECT 2", "expected one statement, got 2"),
        ("DROP VIEW recommendations_latest", "only reads, got a statement of kind DROP"),
        ("DELETE FROM items", "only reads, got a statement of kind DELETE"),
        ("COPY items TO 'stolen.csv'", "only reads, got a statement of kind COPY"),
        ("ATTACH 'x.db'", "only reads, got a statement of kind ATTACH"),
        ("SET threads = 1", "only reads, got a statement of kind SET"),
        ("SELECT * FROM read_text('/etc/hostname')", "Permission Error"),
        ("SELECT * FROM '/etc/hostname'", "Catalog Error"),
        ("SELECT * FROM rows", "Catalog Error"),
    ],
)
def test_a_query_that_is_wrong_or_writes_is_told_in_one_line(
    settings: Settings, query: str, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        sql.run(Context.of(settings), query)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_warehouse_without_tables_names_ingest(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"no tables under .*: run `nightrank ingest SOURCE` first"
    ):
        sql.run(Context.of(Settings(warehouse=str(tmp_path))), "SELECT 1")


def test_before_the_first_publish_the_views_are_empty(tmp_path: Path, spark: SparkSession) -> None:
    settings = Settings(warehouse=str(tmp_path))
    ingest(Warehouse(settings.warehouse))
    register_views(spark, Warehouse(settings.warehouse))
    for view in ("recommendations_latest", "recommendations_named"):
        assert sql.run(Context.of(settings), f"SELECT * FROM {view}")["rows"] == []
        assert spark.sql(f"SELECT * FROM {view}").collect() == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM recommendations_latest ORDER BY user_id, rank",
        "SELECT * FROM recommendations_named ORDER BY user_id, rank",
        "SELECT count(*) FROM interactions",
    ],
)
def test_spark_answers_as_duckdb_does(settings: Settings, spark: SparkSession, query: str) -> None:
    register_views(spark, Warehouse(settings.warehouse))
    rows: list[list[Any]] = [list(row) for row in spark.sql(query).collect()]
    assert rows == sql.run(Context.of(settings), query)["rows"]
    assert (
        spark.sql(query).columns == sql.run(Context.of(settings), query)["columns"]
        or "count" in query
    )


@pytest.mark.parametrize(
    ("limit", "query", "message"),
    [
        ({"sql_rows": 2}, "SELECT * FROM range(3)", "more than 2 rows, setting `sql_rows`"),
        (
            {"sql_seconds": 0.2},
            "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range > b.range",
            "stopped after 0.2 s, setting `sql_seconds`",
        ),
        (
            {"sql_memory_mb": 64},
            "SELECT max(len(l)) FROM (SELECT list(range) AS l FROM range(50000000))",
            "needs more than 64 MB, setting `sql_memory_mb`",
        ),
    ],
)
def test_a_query_that_asks_for_too_much_is_stopped(
    settings: Settings, limit: dict[str, float], query: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        sql.run(Context.of(settings.model_copy(update=limit)), query)
