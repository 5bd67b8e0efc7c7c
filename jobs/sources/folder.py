"""A source that is a folder with files of interactions, items, users and triples.

- A file's name is that of its table and its ending that of its format: `interactions.csv`,
  `Items.JSONL.gz`, and so on (CSV, TSV, JSON Lines or Parquet; text may be packed by gzip, bzip2 or
  zstd). A folder of parts can stand in place of a file; it needs no ending.
- A folder `interactions` may be a Delta table: its newest version counts.
- RecBole's atomic files may have any name: .inter .item .user .kg .link.
- Other files in the folder are not read, and a line says which.

Trade-off: one process reads all files once more for the hash that makes an ingest repeatable.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.sources.columns import RawTable, field_of, union
from jobs.sources.file_formats import read_file
from jobs.sources.files.parts import ATOMIC_ENDINGS, ENDINGS, parts, stem_and_ending
from jobs.sources.made_fields import Made, add_made, fingerprint
from jobs.sources.places.delta_table import identity, is_delta
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TRIPLES, USERS
from models.errors import InputError

LOGGER = logging.getLogger(__name__)

NAMED = (INTERACTIONS, ITEMS, USERS, TRIPLES)
ATOMIC = dict(zip(ATOMIC_ENDINGS, (INTERACTIONS, ITEMS, USERS, TRIPLES, TRIPLES), strict=True))
_CHUNK = 1 << 20


class FileSource:
    """Tables that stand in files, folders of parts or Delta tables, by their names.

    `columns` has the name in the files for fields of the tables, or how they are made, where a
    person has told it.
    """

    def __init__(
        self, files: Mapping[str, list[Path]], columns: Mapping[str, str | Made] | None = None
    ) -> None:
        self._files = files
        self._columns = columns or {}

    def fingerprint(self) -> str:
        """Return a hash of the files' content and of their tables."""
        hashes = [f"{name}={content_hash(files)}" for name, files in self._files.items()]
        hashes += [f"{name} is {fingerprint(said)}" for name, said in sorted(self._columns.items())]
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]

    def read(self, spark: SparkSession) -> list[RawTable]:
        """Return the tables, lazily; InputError that names the file when one can't be read."""
        tables = []
        names = {field: said for field, said in self._columns.items() if isinstance(said, str)}
        for name, files in self._files.items():
            groups = [group for path in files for group in read_file(spark, path, name)]
            there = {column.strip().lower() for one in groups for column in one.frame.columns}
            origins, frames = [], []
            made: dict[str, Made] = {}
            for group in groups:
                has_value = any(field_of(column) == "value" for column in group.frame.columns)
                frame, made_here = add_made(name, group.frame, self._columns, has_value)
                origins.append(group.origin)
                frames.append(frame)
                made |= made_here
            frame = union(name, origins, frames, names)
            origin = ", ".join(map(str, files))
            tables.append(RawTable(name, origin, frame, names, made, frozenset(there)))
        return tables


class FolderSource(FileSource):
    """The files of a folder, by table; InputError where there is no folder or no such file."""

    def __init__(self, folder: Path, columns: Mapping[str, str | Made] | None = None) -> None:
        try:
            if not folder.exists():
                raise InputError(f"source folder {folder} not found")
            if not folder.is_dir():
                raise InputError(
                    f"source {folder} is a file, expected the folder that holds it, or its table, "
                    f"as in {INTERACTIONS}={folder}"
                )
            files = _files_by_table(folder)
        except OSError as error:  # a name that is too long, a folder that may not be listed
            raise InputError(f"source folder {folder} can't be read: {error.strerror}") from error
        if not files:
            raise InputError(
                f"source folder {folder} holds none of {', '.join(NAMED)} "
                f"as {' '.join(ENDINGS)}, nor {' '.join(ATOMIC)} files"
            )
        super().__init__(files, columns)


def file_of(table: str, place: Path, columns: Mapping[str, str | Made] | None = None) -> FileSource:
    """Return the source that has `table` alone, in a file, a folder of parts or a Delta table.

    Raises InputError where there is none, or in a format that isn't known.
    """
    try:
        if not place.exists():
            raise InputError(f"source {place} not found")
    except OSError as error:
        raise InputError(f"source {place} can't be read: {error.strerror}") from error
    ending = stem_and_ending(place)[1]
    if not (place.is_dir() or ending in ENDINGS or ATOMIC.get(ending) == table):
        raise InputError(f"{place}: unknown format; expected {table} as {' '.join(ENDINGS)}")
    return FileSource({table: [place]}, columns)


def content_hash(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the content of files and of the files in folders, in name order.

    Raises InputError that names a file that can't be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        if is_delta(path):
            digest.update(identity(path).encode())
            continue
        for part in parts(path):
            try:
                with part.path.open("rb") as file:
                    while chunk := file.read(_CHUNK):
                        digest.update(chunk)
            except OSError as error:
                raise InputError(f"{part.path} can't be read: {error.strerror}") from error
            digest.update(b"\0")
            if part.keys:  # their values are in the folders' names
                digest.update(str(part.path.relative_to(part.root)).encode())
    return digest.hexdigest()


def _files_by_table(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {name: [] for name in NAMED}
    passed_over = []
    for path in sorted(folder.iterdir()):
        stem, ending = stem_and_ending(path)
        table = path.name.lower().split(".")[0]
        if path.name.startswith((".", "_")):
            continue
        if ending in ATOMIC:
            found[ATOMIC[ending]].append(path)
        elif table in NAMED and (stem.lower() != table or not _is_known(ending, path)):
            raise InputError(f"{path}: unknown format; expected {table} as {' '.join(ENDINGS)}")
        elif table in NAMED:
            found[table].append(path)
        else:
            passed_over.append(path.name)
    for name, files in found.items():
        endings = {stem_and_ending(path)[1] for path in files}
        if len(files) > 1 and not (len(files) == len(endings) and endings <= {".kg", ".link"}):
            raise InputError(f"{files[0]} and {files[1]} are both table `{name}`: keep one")
    if passed_over:
        LOGGER.info("%s: not read: %s", folder, ", ".join(passed_over))
    return {name: files for name, files in found.items() if files}


def _is_known(ending: str, path: Path) -> bool:
    return ending in ENDINGS or (not ending and path.is_dir())
