"""A database as a source: its tables `interactions`, `items`, `users` and `triples`, by a URL.

- `duckdb:///shop.duckdb` is read by DuckDB, any other URL by SQLAlchemy and the driver that it
  names: `postgresql+psycopg://user:password@host/shop`, `sqlite:////data/shop.db`.
- A table of another name is said at the end: `interactions=duckdb:///shop.duckdb#sales.events`.
- Each table is copied to a Parquet file, some thousand rows at a time, and read as a file is: its
  columns are matched, made, checked and typed in the same way.
- A password is never shown.

Trade-off: one connection reads a whole table, where JDBC in Spark would divide it by a number: the
copy is what makes the content a hash, and needs no JAR of a driver.
"""

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from pyspark.sql import SparkSession
from sqlalchemy.exc import SQLAlchemyError

from jobs.credentials import without_credentials
from jobs.sources.columns import RawTable
from jobs.sources.files.text import scratch
from jobs.sources.folder import NAMED, FolderSource
from jobs.sources.made_fields import Made
from models.errors import InputError

_URL = re.compile(r"[a-z][a-z0-9]*(\+[a-z0-9_]+)?://.*", flags=re.IGNORECASE | re.DOTALL)
_DUCKDB = "duckdb:///"
_FETCHED, _ROWS = 10_000, 100_000


def is_database(place: str) -> bool:
    """Return whether `place` is the URL of a database: of DuckDB or of a dialect of SQLAlchemy."""
    if not _URL.fullmatch(place):
        return False
    name = place.partition(":")[0].partition("+")[0].lower()
    return name == "duckdb" or name in {"postgres", *sa.dialects.__all__}


class DatabaseSource:
    """The tables of a database; InputError where it can't be reached or has none of them.

    `table` is the one that the URL's end names, where it names one; `columns` says which column is
    which field.
    """

    def __init__(
        self,
        url: str,
        table: str | None = None,
        columns: Mapping[str, str | Made] | None = None,
    ) -> None:
        self._url, _, named = url.partition("#")
        self._shown = without_credentials(self._url)
        self._folder = Path(mkdtemp(dir=scratch()))  # the rows are read after this object is gone
        if named and table is None:
            raise InputError(
                f"source {self._shown}#{named}: say which table it is, as in "
                f"interactions={self._shown}#{named}"
            )
        self._wanted = {table: named or table} if table else dict(zip(NAMED, NAMED, strict=True))
        self._copy(needed=table is not None)
        self._files = FolderSource(self._folder, columns)

    def fingerprint(self) -> str:
        """Return a hash of the tables' content."""
        return self._files.fingerprint()

    def read(self, spark: SparkSession) -> list[RawTable]:
        """Return the tables, lazily; InputError names the database and table at fault."""
        try:
            tables = self._files.read(spark)
        except InputError as error:
            raise InputError(self._told(str(error))) from error
        return [
            RawTable(one.name, self._told(one.origin), one.frame, one.said, one.made, one.there)
            for one in tables
        ]

    def _copy(self, needed: bool) -> None:
        """Copy the tables to Parquet files in a folder of our own."""
        copy = _copy_duckdb if self._url.startswith(_DUCKDB) else _copy_by_sqlalchemy
        try:
            copy(self._url, self._wanted, self._folder, needed)
        except (duckdb.Error, SQLAlchemyError, ImportError, ValueError, OSError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(
                f"source {self._shown} can't be read: {without_credentials(reason)}"
            ) from error
        if not any(self._folder.iterdir()):
            raise InputError(f"source {self._shown} has none of the tables {', '.join(NAMED)}")

    def _told(self, text: str) -> str:
        """Return `text` with the tables' names in place of our own files."""
        for name, there in self._wanted.items():
            text = text.replace(f"{self._folder}/{name}.parquet", f"{self._shown}#{there}")
        return text


def _copy_duckdb(url: str, wanted: Mapping[str, str], folder: Path, needed: bool) -> None:
    with duckdb.connect(url.removeprefix(_DUCKDB), read_only=True) as database:
        found = {
            name
            for schema, table in database.sql(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal "
                "UNION SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal"
            ).fetchall()
            for name in (table, f"{schema}.{table}")
        }
        for name, there in _present(wanted, found, needed).items():
            database.table(there).write_parquet(str(folder / f"{name}.parquet"))


def _copy_by_sqlalchemy(url: str, wanted: Mapping[str, str], folder: Path, needed: bool) -> None:
    address = sa.make_url(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url))
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").is_file():
        raise ValueError("there is no such file")  # SQLite would make an empty one
    engine = sa.create_engine(address)
    try:
        with engine.connect() as connection:
            inspector = sa.inspect(connection)
            found = {
                there
                for there in wanted.values()
                if inspector.has_table(*_name_and_schema(there))
                or _name_and_schema(there)[0]
                in inspector.get_view_names(_name_and_schema(there)[1])
            }
            for name, there in _present(wanted, found, needed).items():
                table, schema = _name_and_schema(there)
                rows = sa.select(sa.text("*")).select_from(sa.table(table, schema=schema))
                streamed = connection.execution_options(yield_per=_FETCHED).execute(rows)
                _write(folder / f"{name}.parquet", list(streamed.keys()), streamed)
    finally:
        engine.dispose()


def _present(wanted: Mapping[str, str], found: set[str], needed: bool) -> dict[str, str]:
    missing = [there for there in wanted.values() if there not in found]
    if needed and missing:
        raise ValueError(f"there is no table {missing[0]!r}")
    return {name: there for name, there in wanted.items() if there in found}


def _name_and_schema(there: str) -> tuple[str, str | None]:
    schema, _, table = there.rpartition(".")
    return table, schema or None


def _write(path: Path, names: Sequence[str], rows: sa.CursorResult[Any]) -> None:
    schema = pa.schema([(name, pa.string()) for name in names])
    with pq.ParquetWriter(path, schema) as writer:
        for some in rows.partitions(_ROWS):
            columns = zip(*some, strict=True)
            texts = [pa.array(map(_text, column), pa.string()) for column in columns]
            writer.write_batch(pa.record_batch(texts, schema=schema))


def _text(value: object) -> str | None:
    """Return a value of a database as the text that a file would have."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
