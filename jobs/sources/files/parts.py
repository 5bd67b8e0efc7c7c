"""The parts of a table: a file, or the files of a folder and of the folders in it.

- A name says the format and how it is packed: `items.csv`, `items.CSV.gz`. A part without an ending
  that is known has that of its folder.
- Folders called `name=value` (Hive's partitions) stand for a column of that name.
- Hidden files (`.` or `_` at the start) and empty parts beside others are left out.
- What can't be a part is refused by its path: links to nothing, pipes, tables of Delta or Hudi,
  whose files hold rows that were replaced since. A Delta table that stands in place of the file is
  read by `jobs.sources.places.delta_table`.

Trade-off: every folder is walked, links to folders too (each once), so that nothing that lies there
is passed over.
"""

import stat
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError

ATOMIC_ENDINGS = (".inter", ".item", ".user", ".kg", ".link")
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
LOG, HUDI_LOG = "_delta_log", ".hoodie"
PACKED = (".gz", ".bz2", ".zst")


@dataclass(frozen=True)
class Part:
    """A file, the ending of its format, and the folder under which `name=value` is a column."""

    path: Path
    ending: str
    root: Path

    @property
    def packed(self) -> str:
        """Return the ending of the compression, empty for a plain file."""
        ending = self.path.suffix.lower()
        return ending if ending in PACKED else ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the names of the columns that the part's folders stand for."""
        folders = self.path.relative_to(self.root).parts[:-1]
        return tuple(name.split("=", 1)[0] for name in folders if "=" in name)


def stem_and_ending(path: Path) -> tuple[str, str]:
    """Return "items" and ".csv" of "items.csv" and of "Items.CSV.gz": the ending in lower case."""
    name = Path(path.stem if path.suffix.lower() in PACKED else path.name)
    return name.stem, name.suffix.lower()


def parts(path: Path) -> list[Part]:
    """Return the file itself, or the parts in a folder in the order of their paths.

    Raises InputError that names what is no file, has an unknown format, or holds no part.
    """
    ending = stem_and_ending(path)[1]
    if not path.is_dir():
        refuse_unreadable(path)
        return [Part(path, ending, path.parent)]
    found = [Part(file, _ending(file, ending), path) for file in _files(path, set())]
    if not found:
        raise InputError(f"{path} is an empty folder")
    return [part for part in found if part.path.stat().st_size] or found[:1]


def refuse_unreadable(path: Path) -> None:
    """Raise InputError where `path` is a link to nothing, or neither a file nor a folder.

    Of a name that isn't UTF-8, too, which Java can't have.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path} can't be read: its name is not UTF-8, rename it") from error
    try:
        mode = path.stat().st_mode
    except OSError as error:
        whither = f", a link to {path.readlink()}," if path.is_symlink() else ""
        raise InputError(f"{path}{whither} can't be read: {error.strerror}") from error
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"{path} can't be read: it is neither a file nor a folder")


def _files(folder: Path, seen: set[Path]) -> list[Path]:
    seen.add(folder.resolve())
    try:
        names = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} can't be read: {error.strerror}") from error
    if (folder / LOG).is_dir():
        raise InputError(
            f"{folder} is a Delta table within a folder of parts: name it itself, as in "
            f"interactions={folder}"
        )
    if (folder / HUDI_LOG).is_dir():
        raise InputError(f"{folder} is a Hudi table, which can't be read: write plain Parquet")
    found: list[Path] = []
    for path in names:
        if path.name.startswith((".", "_")):
            continue
        refuse_unreadable(path)
        if not path.is_dir():
            found.append(path)
        elif path.resolve() not in seen:
            found += _files(path, seen)
    return found


def _ending(file: Path, of_folder: str) -> str:
    own = stem_and_ending(file)[1]
    known = (*ENDINGS, *ATOMIC_ENDINGS)
    if own in known:
        return own
    if of_folder in known:
        return of_folder
    raise InputError(f"{file}: unknown format; expected {' '.join(ENDINGS)}")
