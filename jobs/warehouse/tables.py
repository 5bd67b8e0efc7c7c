"""Names, columns, types and checks of every table: the only place where they stand.

- A `Table` holds its columns in order, the columns that identify a row, the column that it is
  partitioned by, whether Delta keeps a feed of its changes, and the CHECKs that Delta enforces on
  every write.
- Types are written as Delta writes them; `schema` turns them into DDL for Spark (which takes it
  wherever it takes a schema), `arrow_schema` into pyarrow's types.

Trade-off: plain Delta (reader 1, writer 4): no deletion vectors, no clustering, no generated
columns, so that every Delta reader and writer works, at the price of slower updates.
"""

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

_ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "double": pa.float64(),
    "float": pa.float32(),
    "int": pa.int32(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "array<float>": pa.list_(pa.float32()),
    "map<string,string>": pa.map_(pa.string(), pa.string()),
    "map<string,bigint>": pa.map_(pa.string(), pa.int64()),
}


@dataclass(frozen=True)
class Column:
    """A column: its name, its type in Delta's words, and whether it may be null."""

    name: str
    type: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A table: columns in order, key, partition and the checks on every row."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    change_feed: bool = False
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def schema(self) -> str:
        """Return the schema as DDL, for example `item_id string NOT NULL, ...`."""
        return ", ".join(
            f"{column.name} {column.type}{'' if column.nullable else ' NOT NULL'}"
            for column in self.columns
        )

    @property
    def arrow_schema(self) -> pa.Schema:
        """Return the schema in pyarrow's types."""
        return pa.schema(
            [pa.field(c.name, _ARROW[c.type], nullable=c.nullable) for c in self.columns]
        )


_RECOMMENDATION_COLUMNS = (
    Column("run_date", "date"),
    Column("user_id", "string"),
    Column("rank", "int"),
    Column("item_id", "string"),
    Column("score", "float"),
    Column("model_version", "string"),
    Column("reason", "string"),
)
_RECOMMENDATION_CHECKS = {"rank_from_1": "rank >= 1", "score_is_a_number": "NOT isnan(score)"}


def _recommendations(name: str) -> Table:
    return Table(
        name,
        _RECOMMENDATION_COLUMNS,
        key=("run_date", "user_id", "rank"),
        partition_by=("run_date",),
        checks=_RECOMMENDATION_CHECKS,
    )


_ALL = (
    Table(
        INTERACTIONS,
        (
            Column("user_id", "string"),
            Column("item_id", "string"),
            Column("value", "double"),
            Column("ts", "timestamp"),
            Column("ingest_id", "string"),
        ),
        key=("user_id", "item_id", "ts"),
        change_feed=True,
        checks={"value_is_a_number": "NOT isnan(value)"},
    ),
    Table(
        ITEMS,
        (
            Column("item_id", "string"),
            Column("title", "string"),
            Column("text", "string"),
            Column("attributes", "map<string,string>"),
            Column("available", "boolean"),
            Column("features", "array<float>", nullable=True),
        ),
        key=("item_id",),
        change_feed=True,
    ),
    Table(
        USERS,
        (
            Column("user_id", "string"),
            Column("text", "string"),
            Column("attributes", "map<string,string>"),
        ),
        key=("user_id",),
        change_feed=True,
    ),
    Table(
        TRIPLES,
        (Column("head", "string"), Column("relation", "string"), Column("tail", "string")),
        key=("head", "relation", "tail"),
    ),
    Table(
        REJECTED_ROWS,
        (
            Column("table", "string"),
            Column("reason", "string"),
            Column("row", "string"),
            Column("ingest_id", "string"),
        ),
        key=("table", "reason", "row", "ingest_id"),
    ),
    _recommendations(RECOMMENDATIONS),
    _recommendations(RECOMMENDATIONS_STAGED),
    Table(
        TEXT_VECTORS,
        (
            Column("text_sha256", "string"),
            Column("model_version", "string"),
            Column("vector", "array<float>"),
        ),
        key=("text_sha256", "model_version"),
        partition_by=("model_version",),
    ),
    Table(
        ACTIVE_LEARNING,
        (
            Column("user_id", "string"),
            Column("item_id", "string"),
            Column("title", "string"),
            Column("probability", "double"),
            Column("uncertainty", "double"),
            Column("model_version", "string"),
            Column("asked_at", "timestamp"),
            Column("value", "double", nullable=True),
            Column("labelled_at", "timestamp", nullable=True),
        ),
        key=("user_id", "item_id"),
    ),
    Table(
        RUNS,
        (
            Column("run_id", "string"),
            Column("step", "string"),
            Column("run_date", "date", nullable=True),
            Column("model_version", "string", nullable=True),
            Column("inputs", "map<string,bigint>"),
            Column("rows", "map<string,bigint>"),
            Column("seconds", "double"),
            Column("status", "string"),
            Column("finished_at", "timestamp"),
            Column("message", "string", nullable=True),
        ),
        key=("run_id",),
    ),
)
TABLES: dict[str, Table] = {table.name: table for table in _ALL}
