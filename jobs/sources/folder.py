"""A source that is a folder with files of interactions, items, users and triples.

- A file's name is that of its table and its ending that of its format: `interactions.csv`,
  `items.jsonl`, and so on (CSV, TSV, JSON Lines or Parquet; text may be gzipped; a folder of part
  files can stand in place of a file).
- RecBole's atomic files may have any name: .inter .item .user .kg .link.
- Other files in the folder are ignored.

Trade-off: one process reads all files once more for the hash that makes an ingest repeatable.
"""

import hashlib
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.sources.file_formats import ATOMIC_ENDINGS, ENDINGS, parts, read_file, stem_and_ending
from jobs.sources.validation import RawTable
from jobs.warehouse.tables import INTERACTIONS, ITEMS, TRIPLES, USERS
from models.errors import InputError

NAMED = (INTERACTIONS, ITEMS, USERS, TRIPLES)
ATOMIC = dict(zip(ATOMIC_ENDINGS, (INTERACTIONS, ITEMS, USERS, TRIPLES, TRIPLES), strict=True))
_CHUNK = 1 << 20


class FolderSource:
    """The files of a folder, by table; InputError where there is no folder or no such file."""

    def __init__(self, folder: Path) -> None:
        if not folder.exists():
            raise InputError(f"source folder {folder} not found")
        if not folder.is_dir():
            raise InputError(f"source {folder} is a file, expected the folder that holds it")
        self._files = _files_by_table(folder)
        if not self._files:
            raise InputError(
                f"source folder {folder} holds none of {', '.join(NAMED)} "
                f"as {' '.join(ENDINGS)}, nor {' '.join(ATOMIC)} files"
            )

    def fingerprint(self) -> str:
        """Return a hash of the files' content and of their tables."""
        hashes = [f"{name}={content_hash(files)}" for name, files in self._files.items()]
        return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:16]

    def read(self, spark: SparkSession) -> list[RawTable]:
        """Return the tables, lazily; InputError that names the file when one can't be read."""
        tables = []
        for name, files in self._files.items():
            frames = [read_file(spark, path) for path in files]
            frame = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), frames)
            tables.append(RawTable(name, ", ".join(map(str, files)), frame))
        return tables


def content_hash(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the content of files and of the files in folders, in name order."""
    digest = hashlib.sha256()
    for path in paths:
        for part in parts(path):
            with part.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
            digest.update(b"\0")
    return digest.hexdigest()


def _files_by_table(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {name: [] for name in NAMED}
    for path in sorted(folder.iterdir()):
        stem, ending = stem_and_ending(path)
        if path.name.startswith((".", "_")):
            continue
        if ending in ATOMIC:
            found[ATOMIC[ending]].append(path)
        elif stem in NAMED and ending in ENDINGS:
            found[stem].append(path)
        elif stem in NAMED:
            raise InputError(f"{path}: unknown format; expected {stem} as {' '.join(ENDINGS)}")
    for name, files in found.items():
        endings = {stem_and_ending(path)[1] for path in files}
        if len(files) > 1 and not (len(files) == len(endings) and endings <= {".kg", ".link"}):
            raise InputError(f"{files[0]} and {files[1]} are both table `{name}`: keep one")
    return {name: files for name, files in found.items() if files}
