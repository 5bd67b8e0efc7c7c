"""A warehouse of version 0.1.0 goes on: scored, published, rolled back, maintained; and Spark."""

import toy_version
from deltalake import DeltaTable
from old_warehouse import FIRST, SECOND, THIRD, rows_of
from pyspark.sql import SparkSession
from pyspark.sql import functions as fn

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import maintain, publish, rollback, score, sql
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.migrations import SCHEMA_VERSION
from jobs.warehouse.tables import (
    INTERACTIONS,
    RECOMMENDATIONS,
    RECOMMENDATIONS_STAGED,
    RUNS,
    TABLES,
)
from jobs.warehouse.views import register_views


def go_on(settings: Settings) -> None:
    """Score, publish, roll back and maintain on what is there."""
    toy_version.champion(settings, [str(number) for number in range(1, 61)], seed=1)
    counts = rows_of(settings, "SELECT run_date, count(*) FROM recommendations GROUP BY 1")
    assert len({count for _, count in counts}) == 1
    assert score.run(Context.of(settings), THIRD)["rows"] == counts[0][1]
    assert (
        publish.run(Context.of(settings), SECOND)["visible_night"] == SECOND
    )  # staged by version 0.1.0
    assert publish.run(Context.of(settings), THIRD)["visible_night"] == THIRD
    night = "SELECT DISTINCT run_date::text FROM recommendations_latest"
    assert rows_of(settings, night) == [[THIRD]]
    assert rollback.run(Context.of(settings), FIRST)["before"] == THIRD
    assert rows_of(settings, night) == [[FIRST]]
    assert set(maintain.run(Context.of(settings))["tables"]) == set(TABLES)


def test_an_old_warehouse_goes_on(old: Settings, spark: SparkSession) -> None:
    go_on(old)


def test_an_old_warehouse_goes_on_with_columns_more(
    old: Settings, later: None, spark: SparkSession
) -> None:
    go_on(old)
    found = rows_of(
        old, "SELECT run_date::text, list_id, count(*) FROM recommendations GROUP BY 1, 2"
    )
    # the published rows are staged ones, which have no default
    assert {night: list_id for night, list_id, _ in found} == {
        FIRST: "all",
        SECOND: None,
        THIRD: None,
    }
    assert "list_id" in sql.run(Context.of(old), "SELECT * FROM recommendations_named")["columns"]
    register_views(spark, Warehouse(old.warehouse))
    assert spark.sql("SELECT list_id FROM recommendations_latest").distinct().collect() == [
        ("all",)
    ]


def test_new_tables_say_their_version_and_spark_keeps_it(
    warehouse: Warehouse, spark: SparkSession, later: None
) -> None:
    for name in TABLES:
        warehouse.create(name)
        found = DeltaTable(warehouse.path(name)).metadata().configuration[SCHEMA_VERSION]
        migrated = dict.fromkeys((RECOMMENDATIONS, RECOMMENDATIONS_STAGED, RUNS), "3")
        assert found == migrated.get(name, "1")
    path = warehouse.path(INTERACTIONS)
    rows = spark.range(3).select(
        fn.col("id").cast("string").alias("user_id"),
        fn.lit("i").alias("item_id"),
        fn.lit(1.0).alias("value"),
        fn.timestamp_micros("id").alias("ts"),
        fn.lit("once").alias("ingest_id"),
    )
    rows.write.format("delta").mode("append").save(path)
    spark.sql(f"UPDATE delta.`{path}` SET value = 2.0")
    spark.sql(
        f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.logRetentionDuration' = '9 days')"
    )
    DeltaTable(path).optimize.compact()
    assert DeltaTable(path).metadata().configuration[SCHEMA_VERSION] == "1"
    assert spark.sql(f"SHOW TBLPROPERTIES delta.`{path}`").where(
        fn.col("key") == SCHEMA_VERSION
    ).first() == (SCHEMA_VERSION, "1")
