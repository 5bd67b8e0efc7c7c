"""Every table of the warehouse: its name, columns, key, checks and migrations.

- This is the only place that lists columns. Types are Arrow's, from which deltalake and Spark make
  their own.
- A CHECK is enforced by Delta on every write. A table with a change feed also keeps which rows each
  commit changed.
- A column that is added after a release needs a migration, an entry at the end of the table's
  `migrations`. It must be nullable: Delta can't add a NOT NULL column to rows that exist.

Trade-off: plain Delta (reader 1, writer 4) without deletion vectors, clustering, generated columns
or column mapping: every Delta reader and writer works, and updates are slower.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import pyarrow as pa

INTERACTIONS = "interactions"
ITEMS = "items"
USERS = "users"
TRIPLES = "triples"
REJECTED_ROWS = "rejected_rows"
RECOMMENDATIONS = "recommendations"
RECOMMENDATIONS_STAGED = "recommendations_staged"
TEXT_VECTORS = "text_vectors"
ACTIVE_LEARNING = "active_learning"
RUNS = "runs"

RECOMMENDATIONS_LATEST = "recommendations_latest"
RECOMMENDATIONS_NAMED = "recommendations_named"

ITEM_ENTITY = "item_entity"  # the relation that links an item_id to an entity of the triples

_STRING, _DATE, _TIMESTAMP = pa.string(), pa.date32(), pa.timestamp("us", tz="UTC")
_INT, _FLOAT, _DOUBLE, _BOOLEAN = pa.int32(), pa.float32(), pa.float64(), pa.bool_()
_VECTOR = pa.list_(_FLOAT)
_STRING_BY_NAME, _COUNT_BY_NAME = pa.map_(_STRING, _STRING), pa.map_(_STRING, pa.int64())


@dataclass(frozen=True)
class AddColumn:
    """A migration: add the column `name`, and give the rows that exist the SQL value `default`."""

    name: str
    default: str | None = None


@dataclass(frozen=True)
class Table:
    """A table: columns in order, key, partition, checks on every row, and migrations in order."""

    name: str
    arrow_schema: pa.Schema
    key: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    change_feed: bool = False
    checks: dict[str, str] = field(default_factory=dict)
    migrations: tuple[AddColumn, ...] = ()

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns, in order."""
        return list(self.arrow_schema.names)

    @property
    def required(self) -> list[str]:
        """Return the names of the columns that may not be null."""
        return [column.name for column in self.arrow_schema if not column.nullable]

    @property
    def schema_version(self) -> int:
        """Return the number of the schema: 1 in version 0.1.0, one more for each migration."""
        return 1 + len(self.migrations)


def _columns(nullable: Collection[str] = (), **types: pa.DataType) -> pa.Schema:
    """Return columns of these names and types; those named in `nullable` may be null."""
    return pa.schema(
        [pa.field(name, kind, nullable=name in nullable) for name, kind in types.items()]
    )


def _recommendations(name: str) -> Table:
    return Table(
        name,
        _columns(
            run_date=_DATE,
            user_id=_STRING,
            rank=_INT,
            item_id=_STRING,
            score=_FLOAT,
            model_version=_STRING,
            reason=_STRING,
            reason_items=pa.list_(_STRING),
            nullable=["reason_items"],
        ),
        key=("run_date", "user_id", "rank"),
        partition_by=("run_date",),
        checks={"rank_from_1": "rank >= 1", "score_is_a_number": "NOT isnan(score)"},
        migrations=(AddColumn("reason_items"),),
    )


_ALL = (
    Table(
        INTERACTIONS,
        _columns(user_id=_STRING, item_id=_STRING, value=_DOUBLE, ts=_TIMESTAMP, ingest_id=_STRING),
        key=("user_id", "item_id", "ts"),
        change_feed=True,
        checks={"value_is_a_number": "NOT isnan(value)"},
    ),
    Table(
        ITEMS,
        _columns(
            item_id=_STRING,
            title=_STRING,
            text=_STRING,
            attributes=_STRING_BY_NAME,
            available=_BOOLEAN,
            features=_VECTOR,
            nullable=["features"],
        ),
        key=("item_id",),
        change_feed=True,
    ),
    Table(
        USERS,
        _columns(user_id=_STRING, text=_STRING, attributes=_STRING_BY_NAME),
        key=("user_id",),
        change_feed=True,
    ),
    Table(
        TRIPLES,
        _columns(head=_STRING, relation=_STRING, tail=_STRING),
        key=("head", "relation", "tail"),
    ),
    Table(
        REJECTED_ROWS,
        _columns(table=_STRING, reason=_STRING, row=_STRING, ingest_id=_STRING),
        key=("table", "reason", "row", "ingest_id"),
    ),
    _recommendations(RECOMMENDATIONS),
    _recommendations(RECOMMENDATIONS_STAGED),
    Table(
        TEXT_VECTORS,
        _columns(text_sha256=_STRING, model_version=_STRING, vector=_VECTOR),
        key=("text_sha256", "model_version"),
        partition_by=("model_version",),
    ),
    Table(
        ACTIVE_LEARNING,
        _columns(
            user_id=_STRING,
            item_id=_STRING,
            title=_STRING,
            probability=_DOUBLE,
            uncertainty=_DOUBLE,
            model_version=_STRING,
            asked_at=_TIMESTAMP,
            value=_DOUBLE,
            labelled_at=_TIMESTAMP,
            nullable=["value", "labelled_at"],
        ),
        key=("user_id", "item_id"),
    ),
    Table(
        RUNS,
        _columns(
            run_id=_STRING,
            step=_STRING,
            run_date=_DATE,
            model_version=_STRING,
            inputs=_COUNT_BY_NAME,
            rows=_COUNT_BY_NAME,
            seconds=_DOUBLE,
            status=_STRING,
            finished_at=_TIMESTAMP,
            message=_STRING,
            sequence=pa.int64(),
            nullable=["run_date", "model_version", "message", "sequence"],
        ),
        key=("run_id",),
        migrations=(AddColumn("sequence"),),
    ),
)
TABLES: dict[str, Table] = {table.name: table for table in _ALL}
