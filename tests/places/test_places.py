"""Where a source may stand: databases, Delta tables, several places, drops that have a date."""

import datetime as dt
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.sources.folder import FolderSource, file_of
from jobs.sources.places.database import DatabaseSource, is_database
from jobs.sources.places.several import dated
from jobs.sources.source import Source
from jobs.steps import ingest
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS
from models.errors import InputError

NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
POSTGRES = shutil.which("postgres")


def as_text(source: Source, spark: SparkSession, table: str) -> list[dict[str, Any]]:
    found = {one.name: one.frame for one in source.read(spark)}
    return sorted((row.asDict() for row in found[table].collect()), key=str)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL of our own, on a free port; it doesn't run for root."""
    if POSTGRES is None:
        pytest.skip("no PostgreSQL on the path")
    programs = Path(POSTGRES).resolve().parent
    account = {"user": "nobody"} if os.getuid() == 0 else {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as root:
        data = Path(root) / "data"
        data.mkdir()
        if account:
            Path(root).chmod(0o755)
            shutil.chown(data, **account)
        data.chmod(0o700)
        make = [programs / "initdb", "-D", data, "-U", "me", "--auth=trust", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, cwd=data, **account)
        options = ["-D", data, "-p", str(port), "-k", data, "-c", "fsync=off", "-h", "127.0.0.1"]
        server = subprocess.Popen(
            [programs / "postgres", *options], cwd=data, stderr=subprocess.DEVNULL, **account
        )
        ready = [programs / "pg_isready", "-q", "-t", "30", "-h", "127.0.0.1", "-p", str(port)]
        try:
            while subprocess.run(ready, check=False, timeout=60).returncode:
                assert server.poll() is None
            yield f"postgresql://me:secret@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait(60)


def fill(url: str) -> None:
    """Write two tables, one in a schema where there are schemas, as a shop's database has them."""
    if url.startswith("duckdb"):
        with duckdb.connect(url.removeprefix("duckdb:///")) as database:
            database.sql("CREATE TABLE items (item_id INTEGER, title TEXT, price DECIMAL(9, 2))")
            database.sql("INSERT INTO items VALUES (1, 'Größe, \"A\"', 5.50), (2, NULL, NULL)")
            database.sql("CREATE SCHEMA sales")
            database.sql("CREATE TABLE sales.events (buyer TEXT, item_id INTEGER, ts TIMESTAMPTZ)")
            database.execute("INSERT INTO sales.events VALUES ('ada', 1, ?)", [NOON])
        return
    engine = sa.create_engine(url)
    schema = "sales" if url.startswith("postgres") else None
    about = sa.MetaData()
    items = sa.Table(
        "items", about, sa.Column("item_id", sa.Integer), sa.Column("title", sa.Text),
        sa.Column("price", sa.Numeric(9, 2)),
    )  # fmt: skip
    events = sa.Table(
        "events", about, sa.Column("buyer", sa.Text), sa.Column("item_id", sa.Integer),
        sa.Column("ts", sa.DateTime(timezone=True)), schema=schema,
    )  # fmt: skip
    with engine.begin() as connection:
        if schema:
            connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
        about.create_all(connection)
        connection.execute(items.insert(), [
            {"item_id": 1, "title": 'Größe, "A"', "price": Decimal("5.50")},
            {"item_id": 2, "title": None, "price": None},
        ])  # fmt: skip
        connection.execute(events.insert(), {"buyer": "ada", "item_id": 1, "ts": NOON})
    engine.dispose()


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "postgresql"])
def test_the_tables_of_a_database_are_read_as_files_are(
    spark: SparkSession, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    named = f"{kind}:///{tmp_path}/shop.db"
    url = request.getfixturevalue("postgres") if kind == "postgresql" else named
    fill(url)
    found = as_text(DatabaseSource(url), spark, ITEMS)
    assert [(row["item_id"], row["title"]) for row in found] == [("1", 'Größe, "A"'), ("2", None)]
    assert float(found[0]["price"]) == 5.5  # SQLite knows no decimals
    assert found[1]["price"] is None
    there = "events" if kind == "sqlite" else "sales.events"
    events = DatabaseSource(f"{url}#{there}", INTERACTIONS, {"user_id": "buyer"})
    (row,) = as_text(events, spark, INTERACTIONS)
    assert (row["buyer"], row["item_id"]) == ("ada", "1")
    assert row["ts"].replace("T", " ").startswith("2026-01-05 12:00:00")
    (raw,) = events.read(spark)
    assert raw.origin.endswith(f"#{there}")
    assert "secret" not in raw.origin
    assert DatabaseSource(url).fingerprint() == DatabaseSource(url).fingerprint()
    with pytest.raises(
        InputError,
        match=r"(shop\.db|\*\*\*@127\.0\.0\.1).* can't be read: there is no table 'goods'",
    ):
        DatabaseSource(f"{url}#goods", ITEMS)


def test_a_column_at_fault_is_named_with_its_database(spark: SparkSession, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "shop.db")) as database:
        database.sql("CREATE TABLE items AS SELECT 1.5::DOUBLE AS item_id, 'A' AS title")
    url = f"duckdb:///{tmp_path}/shop.db"
    with pytest.raises(InputError, match=rf"{url}#items: column `item_id` holds fractions"):
        DatabaseSource(url).read(spark)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("duckdb:///shop.duckdb", True),
        ("postgresql+psycopg://h/shop", True),
        ("postgres://h/shop", True),
        ("mysql+pymysql://h/shop", True),
        ("s3://bucket/shop", False),
        ("file:///shop", False),
        ("postgresql", False),
        ("./duckdb", False),
    ],
)
def test_which_places_are_databases(place: str, expected: bool) -> None:
    assert is_database(place) == expected


def test_of_a_delta_table_the_newest_version_counts(spark: SparkSession, tmp_path: Path) -> None:
    place = str(tmp_path / "shop" / "items")
    rows = {
        "item_id": ["1", "2", "3"],
        "title": ["Ash", "Birch", "Cedar"],
        "tags": [["a", "b"]] * 3,
    }
    write_deltalake(place, pa.table(rows))
    first = FolderSource(tmp_path / "shop").fingerprint()
    DeltaTable(place).delete("item_id = '2'")
    source = FolderSource(tmp_path / "shop")
    assert [(row["item_id"], row["tags"]) for row in as_text(source, spark, ITEMS)] == [
        ("1", "a, b"), ("3", "a, b"),
    ]  # fmt: skip
    assert source.fingerprint() != first
    assert as_text(file_of(ITEMS, Path(place)), spark, ITEMS) == as_text(source, spark, ITEMS)
    write_deltalake(
        place, pa.table({"item_id": [b"\xff"]}), mode="overwrite", schema_mode="overwrite"
    )
    with pytest.raises(InputError, match=r"items: column `item_id` has the type binary"):
        FolderSource(tmp_path / "shop").read(spark)


def test_a_damaged_delta_table_is_named(tmp_path: Path) -> None:
    log = tmp_path / "shop" / "items" / "_delta_log"
    log.mkdir(parents=True)
    with pytest.raises(InputError, match=r"shop/items can't be read as a Delta table: "):
        FolderSource(tmp_path / "shop").fingerprint()
    (log / f"{0:020}.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match=r"shop/items can't be read as a Delta table: "):
        FolderSource(tmp_path / "shop").fingerprint()


def test_the_date_of_the_run_stands_in_a_place() -> None:
    assert dated("/drops/{run_date}/x", "2026-01-05") == "/drops/2026-01-05/x"
    assert dated("/drops", None) == "/drops"
    with pytest.raises(
        InputError, match=r"/drops/\{run_date\}: \{run_date\} stands for --run-date"
    ):
        dated("/drops/{run_date}", None)


def test_several_places_are_one_source(
    spark: SparkSession, tmp_path: Path, warehouse: Warehouse
) -> None:
    (tmp_path / "goods.csv").write_text("sku,name\n1,Ash\n2,Birch\n", "utf-8")
    (tmp_path / "drop-2026-01-05").mkdir()
    drop = tmp_path / "drop-2026-01-05" / "interactions.jsonl"
    drop.write_text('{"sku": "2", "buyer": "bob", "stars": 4, "ts": 1767700000}\n', "utf-8")
    with duckdb.connect(str(tmp_path / "old.db")) as database:
        database.sql(
            "CREATE TABLE log AS SELECT 'ada' AS buyer, 1 AS item_id, 5 AS value, 99 AS ts"
        )
    places = (
        f"items={tmp_path}/goods.csv",
        str(tmp_path / "drop-{run_date}"),
        f"interactions=duckdb:///{tmp_path}/old.db#log",
    )
    context = Context.of(Settings(warehouse=warehouse.root))
    how: dict[str, Any] = {"column": ("user_id=buyer",), "run_date": "2026-01-05"}
    result = ingest.run(context, places, **how)
    assert result["rejected"] == 0
    assert result["source"].startswith("items=")
    found = warehouse.read(INTERACTIONS).sort_by("ts").to_pylist()
    assert [(row["user_id"], row["item_id"], row["value"]) for row in found] == [
        ("ada", "1", 5.0), ("bob", "2", 4.0),
    ]  # fmt: skip
    assert len(warehouse.read(ITEMS)) == 2
