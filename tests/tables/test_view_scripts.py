"""The printed scripts make the views in engines that know nothing of nightrank."""

from pathlib import Path

import duckdb
import pytest
from pyspark.sql import SparkSession
from staging import RIGHT, ingested, publish_night

from jobs.cli import main
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import sql
from jobs.steps.setup import views
from jobs.warehouse.tables import RECOMMENDATIONS_NAMED
from models.errors import InputError

QUERY = f"SELECT user_id, rank, item_id, title, score FROM {RECOMMENDATIONS_NAMED} ORDER BY 1, 2"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "it's").mkdir()
    made = ingested(tmp_path / "it's")
    publish_night(made, RIGHT)
    return made


def expected(settings: Settings) -> list[tuple[object, ...]]:
    found = [tuple(row) for row in sql.run(Context.of(settings), QUERY)["rows"]]
    assert len(found) == len(RIGHT)
    return found


def test_duckdb_reads_the_views(settings: Settings) -> None:
    """Its extension for Delta comes from the network; a macro over the same files stands in."""
    script = views.run(Context.of(settings), "duckdb")["text"]
    head, rest = script.split("LOAD delta;")
    assert head.endswith("INSTALL delta;\n")
    with duckdb.connect() as plain:
        plain.execute(
            "CREATE MACRO delta_scan(path) AS TABLE SELECT * FROM "
            "read_parquet(path || '/**/*.parquet', hive_partitioning = true)"
        )
        plain.execute(rest)
        assert plain.sql(QUERY).fetchall() == expected(settings)


def test_spark_reads_the_views(settings: Settings, spark: SparkSession) -> None:
    plain = spark.newSession()
    for statement in views.run(Context.of(settings), "spark")["text"].split(";"):
        if statement.strip():
            plain.sql(statement)
    assert [tuple(row) for row in plain.sql(QUERY).collect()] == expected(settings)


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = ingested(tmp_path)
    with pytest.raises(InputError, match="table `runs` not found"):
        views.run(Context.of(made), "spark")
    with pytest.raises(SystemExit):
        main(["views", "--engine", "sparc", "--warehouse", made.warehouse])
    assert "--engine 'sparc': did you mean `spark`? expected one of" in capsys.readouterr().err
