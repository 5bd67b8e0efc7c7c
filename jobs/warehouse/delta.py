"""The warehouse: Delta tables under one folder or URI, read and written without a JVM.

- Tables are created here, with their NOT NULLs and CHECKs; Spark then writes into them.
- Every commit, by Spark or from here, is made under `lock(table)`.
- A table of an earlier release is migrated when its newest version is opened, and when it is locked
  (`jobs.warehouse.migrations`). An older version of a table reads as null what it lacks.

Trade-off: on local disks Delta's log store excludes writers within one JVM only, so two processes
can overwrite each other's commit (delta-io/delta#683). A lock of the operating system prevents
that; the price is one writer per table at a time.
"""

import datetime as dt
import fcntl
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable, Schema, write_deltalake
from deltalake.exceptions import DeltaError

from jobs.warehouse.migrations import SCHEMA_VERSION, is_outdated, migrate, missing_columns
from jobs.warehouse.paths import REMOTE, local_path
from jobs.warehouse.tables import TABLES
from models.errors import InputError

LOGGER = logging.getLogger(__name__)

# delta-rs decodes %20, takes a backslash for a slash and panics at brackets; Hadoop has its own.
# A surrogate stands for a byte that isn't UTF-8 (PEP 383)
_ODD = re.compile(r"[%\[\]\\|^?*{}\x00-\x1f\x7f\ud800-\udfff]")
CHANGE_FEED = "delta.enableChangeDataFeed"


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Note the name of the table on what its libraries throw, which seldom tell it."""
    try:
        yield
    except BaseException as error:  # a panic in Rust is no Exception
        error.add_note(f"table `{name}`")
        raise


class Warehouse:
    """The Delta tables under `root`: a folder (made when first written) or an object store's URI.

    Local paths, also as `file:/path`, are made absolute, so that Spark and this process mean the
    same folder. Raises InputError where the path has a character that Delta's libraries misread.
    """

    def __init__(self, root: str) -> None:
        self.remote = REMOTE.match(root) is not None
        self.root = root.rstrip("/") if self.remote else str(Path(local_path(root)).absolute())
        odd = None if self.remote else _ODD.search(self.root)
        if odd:
            raise InputError(
                f"warehouse {self.root}: Delta can't have {odd[0]!r} in a path: choose another "
                "with --warehouse"
            )

    @property
    def models_folder(self) -> Path:
        """Return the folder of the model versions; InputError where the warehouse isn't local."""
        if self.remote:
            raise InputError(f"model versions need a local warehouse, got {self.root}")
        return Path(self.root) / "models"

    def path(self, name: str) -> str:
        """Return where the table `name` stands."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Return whether the table `name` has been made; InputError for data without a log."""
        if DeltaTable.is_deltatable(self.path(name)):
            return True
        if not self.remote and next(Path(self.path(name)).rglob("*.parquet"), None) is not None:
            raise InputError(
                f"table `{name}` at {self.path(name)} has data but no log that can be read: "
                "restore its folder _delta_log, or move the table's folder away"
            )
        return False

    def tables(self) -> list[str]:
        """Return the names of the tables that have been made; InputError where there is none."""
        found = [name for name in TABLES if self.exists(name)]
        if not found:
            raise InputError(f"no tables under {self.root}: run `nightrank ingest SOURCE` first")
        return found

    def nights(self, name: str) -> set[dt.date]:
        """Return the nights that the table `name` has rows of, from its log alone.

        The table is partitioned by `run_date`; there are no nights where it is absent.
        """
        if not self.exists(name):
            return set()
        return {dt.date.fromisoformat(date) for date in self.partitions(name, "run_date")}

    def partitions(self, name: str, column: str) -> set[str]:
        """Return the values of the partition `column` in the table `name`, from its log alone."""
        return {str(found[column]) for found in self._load(name, None).partitions()}

    def version(self, name: str) -> int:
        """Return the newest version of the table `name`; InputError when it is absent."""
        return self._open(name, None).version()

    def properties(self, name: str, version: int | None = None) -> dict[str, str]:
        """Return the Delta properties of the table `name`; InputError when it is absent."""
        found = self._open(name, version).metadata().configuration
        return {key: str(value) for key, value in found.items()}

    def table_id(self, name: str) -> str:
        """Return the id of the table `name`, which one that is made anew doesn't get again."""
        return str(self._open(name, None).metadata().id)

    def dataset(self, name: str, version: int | None = None) -> ds.Dataset:
        """Return the table `name` as an Arrow dataset, lazily; InputError when it is absent."""
        table = self._open(name, version)
        declared = TABLES[name]
        schema = declared.arrow_schema if missing_columns(table, declared) else None
        with naming(name):
            return table.to_pyarrow_dataset(schema=schema)

    def read(
        self, name: str, version: int | None = None, columns: list[str] | None = None
    ) -> pa.Table:
        """Return the rows of `name` in no particular order, in the types of its schema.

        Raises InputError when the table or the version is absent.
        """
        declared = TABLES[name]
        names = declared.column_names if columns is None else columns
        with naming(name):
            table = self.dataset(name, version).to_table(columns=names)
        return table.cast(pa.schema([declared.arrow_schema.field(column) for column in names]))

    def changed(self, name: str, since: int, until: int, column: str) -> set[str] | None:
        """Return the values of a text `column` in rows changed after version `since`, to `until`.

        Delta's change feed tells of rows inserted, updated and deleted. Returns None where the
        table has no feed of all these versions, or where a VACUUM has deleted files of it.
        """
        if since == until:
            return set()
        try:
            feed = self._open(name, until).load_cdf(since + 1, until, columns=[column])
            return {str(value) for value in pa.table(feed.read_all())[column].to_pylist()}
        except Exception as error:  # noqa: BLE001  (what deltalake raises for a file that is gone)
            LOGGER.info("no change feed of %s from version %d to %d: %s", name, since, until, error)
            return None

    def append(self, name: str, table: pa.Table) -> None:
        """Append the rows of `table` under the lock of `name`; make the table when absent."""
        with self.lock(name):
            self.create(name)
            write_deltalake(self.path(name), table.cast(TABLES[name].arrow_schema), mode="append")

    def replace(self, name: str, table: pa.Table, where: str) -> None:
        """Put the rows of `table` in place of those that the SQL condition `where` holds for.

        In one commit under the lock of `name`; makes the table when absent.
        """
        with self.lock(name):
            self.create(name)
            rows = table.cast(TABLES[name].arrow_schema)
            write_deltalake(self.path(name), rows, mode="overwrite", predicate=where)

    def overwrite(self, name: str, table: pa.Table) -> None:
        """Put `table` in place of all rows of the table `name`; the caller holds its lock."""
        rows = table.cast(TABLES[name].arrow_schema)
        write_deltalake(self.path(name), rows, mode="overwrite")

    def create(self, name: str) -> None:
        """Make the table `name`, empty and with its checks, where it is absent.

        The caller holds `lock(name)`.
        """
        table = TABLES[name]
        if self.exists(name):
            made = self._open(name, None)
        else:
            properties = {SCHEMA_VERSION: str(table.schema_version)}
            if table.change_feed:
                properties[CHANGE_FEED] = "true"
            made = DeltaTable.create(
                self.path(name),
                Schema.from_arrow(table.arrow_schema),
                partition_by=list(table.partition_by),
                configuration=properties,
                raise_if_key_not_exists=False,  # the schema version is no property of Delta's own
            )
        # done apart from the creation, so that a table whose creation was killed gets them too
        enforced = made.metadata().configuration
        missing = {
            k: v for k, v in table.checks.items() if f"delta.constraints.{k}" not in enforced
        }
        if missing:
            made.alter.add_constraint(missing)

    def ensure_writable(self) -> None:
        """Raise InputError naming the folder when it can't be written; nothing is made.

        An object store is only found out at the first commit.
        """
        if self.remote:
            return
        root = Path(self.root)
        try:
            nearest = next(folder for folder in (root, *root.parents) if folder.exists())
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            raise self._unwritable(error) from error

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of the table `name`: one writer at a time, across processes and threads.

        The table is migrated first where it is of an earlier release. Not reentrant: `append`
        takes the lock itself. The operating system frees it when its holder dies. An object store
        needs no lock of ours: its commits are conditional puts. Raises InputError where the folder
        can't be written or the table's schema is newer than the code.
        """
        with self._exclusive(name):
            if name in TABLES and self.exists(name):
                migrate(self._load(name, None), TABLES[name])
            yield

    @contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        if self.remote:
            yield
            return
        folder = Path(self.root) / ".locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        with (folder / f"{name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                LOGGER.info("waiting for another process that holds the lock of %s", name)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"warehouse {self.root} can't be written ({error.strerror}): "
            "choose another with --warehouse"
        )

    def _open(self, name: str, version: int | None) -> DeltaTable:
        if not self.exists(name):
            raise InputError(
                f"table `{name}` not found under {self.root}: run `nightrank ingest SOURCE` first"
            )
        table = self._load(name, version)
        if is_outdated(table, TABLES[name]) and version is None:
            with self.lock(name):  # which migrates it, unless another process just did
                table = self._load(name, None)
        missing = missing_columns(table, TABLES[name]) if version is None else []
        if missing:
            raise InputError(
                f"table `{name}` under {self.root} has no column `{missing[0]}`, which another "
                "program has removed: restore an earlier version of the table"
            )
        return table

    def _load(self, name: str, version: int | None) -> DeltaTable:
        try:
            with naming(name):
                return DeltaTable(self.path(name), version=version)
        except DeltaError as error:
            if version is None:
                raise
            raise InputError(
                f"table `{name}` under {self.root} has no version {version}: "
                f"{next(iter(str(error).splitlines()), '')}"
            ) from error
