"""What a verb says when the platform fails: one line, an exit code, and a file with the traceback.

- Exit code 2: something that people have to mend (a setting, a damaged table or model folder, the
  registry's file); trying again would end the same. The steps' own InputErrors are of this kind.
- Exit code 3: the platform failed (disk, memory, Java, network, store), and trying again may help.
- Exit code 1: none of these, so a defect of nightrank.
- The traceback goes to `logs/` of a local warehouse, else to the folder of temporary files; the
  newest hundred are kept. The line names the file. Credentials are hidden in both.

Trade-off: what deltalake, DuckDB, Spark and SQLite throw is told apart by its words, since their
types don't say whether a disk is full or a file is damaged.
"""

import re
import tempfile
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click

from jobs.credentials import without_credentials
from models.errors import InputError

DEFECT, INPUT, PLATFORM = 1, 2, 3
LOGS = "logs"
_LONGEST, _LOGS_KEPT = 300, 100
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class _Kind:
    """A kind of failure: the words by which it is known, its exit code, and what to do."""

    words: str
    code: int
    what: str
    advice: str


_TABLE = "run `nightrank doctor` to see what is damaged"
# the first kind whose words are found in the error counts
_KINDS = (
    _Kind(
        r"no space left|os error (28|122|27)\b|quota exceeded|file too large|"
        r"database or disk is full",
        PLATFORM, "the disk is full", "free some space, then run it again",
    ),
    _Kind(
        r"disk i/o error|os error 5\b|input/output error",
        PLATFORM, "the disk can't be read or written", "check its state and free space, then run "
        "it again",
    ),
    _Kind(
        r"read-only file system|os error 30\b|readonly database",
        PLATFORM, "a file system is read-only", "mount it writable, then run it again",
    ),
    _Kind(
        r"too many open files|os error 24\b", PLATFORM, "too many files are open",
        "raise the limit (ulimit -n), then run it again",
    ),
    _Kind(
        r"permission ?denied|os error 13\b|unable to open database file",
        PLATFORM, "a file can't be opened", "check its owner and mode",
    ),
    _Kind(
        r"could not parse master url|unrecognized master", INPUT, "setting `spark_master`",
        "write local[*], or spark://host:port",
    ),
    _Kind(
        r"outofmemoryerror|java heap space|gc overhead|memoryerror|unable to allocate|bad_alloc",
        PLATFORM, "the memory wasn't enough", "raise `spark_memory`, or free some",
    ),
    _Kind(
        r"java gateway process exited|java_gateway_exited", PLATFORM, "Java ended at its start",
        "see its words above; check JAVA_HOME and `spark_memory`",
    ),
    _Kind(
        r"py4jnetworkerror|answer from java side is empty|while communicating with the java|"
        r"sparkcontext was shut down|stopped sparkcontext|all masters are unresponsive",
        PLATFORM, "Spark's Java process is gone", "check its memory and the master",
    ),
    _Kind(
        r"database is locked", PLATFORM, "the model registry is busy", "run it again",
    ),
    _Kind(
        r"not a database|disk image is malformed|no such table|can't locate revision|"
        r"no such column",
        INPUT, "the model registry (models/mlflow.db) is damaged",
        "restore the file from a backup, or move it away and train again",
    ),
    _Kind(
        r"out-of-date database schema|migration in unexpected state",
        INPUT, "the model registry (models/mlflow.db) is of another release of MLflow, or damaged",
        "restore the file from a backup",
    ),
    _Kind(
        r"generic (?!delta|local)\w+ ?error|generic \w+objectstore|loading credentials|"
        r"error sending request|dns error|"
        r"max retries exceeded|connection refused|connection reset|timed out|"
        r"name or service not known|no route to host|network is unreachable",
        PLATFORM, "a server or object store can't be reached", "check its address and the network",
    ),
    _Kind(
        r"symlink loop|too many levels of symbolic links", INPUT, "a link points at itself",
        "mend the link",
    ),
    _Kind(
        r"parquet|thrift|kernel error|delta log|delta table|object at location|os error 2\b|"
        r"failed_read_file|delta_(file|log|missing|state|version|truncated)|tablenotfound|"
        r"in log segment|reading the stream",
        INPUT, "a table is damaged", _TABLE,
    ),
    _Kind(
        r"mlflowexception|restexception", INPUT, "the model registry",
        "check setting `mlflow_tracking_uri`",
    ),
)  # fmt: skip


class VerbError(Exception):
    """A verb that failed: the line to print, and the exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


@contextmanager
def explained(verb: str, warehouse: str = "") -> Iterator[None]:
    """Turn what the body throws into a VerbError, and keep its traceback in a file.

    InputErrors and what click raises pass unchanged; `warehouse` is where the log may stand.
    """
    try:
        yield
    except (InputError, click.ClickException, click.Abort, click.exceptions.Exit, VerbError):
        raise
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        line, code = explain(error)
        raise VerbError(f"{line} (traceback: {_kept(error, verb, warehouse)})", code) from error


def explain(error: BaseException) -> tuple[str, int]:
    """Return one line on `error` (what, where, what to do), without credentials, and the code."""
    said = _said(error)
    everything = " ".join(
        " ".join([type(one).__name__, str(one), *getattr(one, "__notes__", [])])
        for one in _chain(error)
    )
    for kind in _KINDS:
        if re.search(kind.words, everything, flags=re.IGNORECASE):
            return without_credentials(
                f"{_what(kind, everything)}: {said}: {kind.advice}"
            ), kind.code
    line = f"unexpected {type(error).__name__}: {said}: a defect of nightrank, please report it"
    return without_credentials(line), DEFECT


def _what(kind: _Kind, text: str) -> str:
    """Return what failed, by the table's name where the error tells it."""
    if kind.advice is not _TABLE:
        return kind.what
    from jobs.warehouse.tables import TABLES  # here: `--help` need not wait for Arrow

    names = "|".join(TABLES)
    found = re.search(rf"table `({names})`|registered as '({names})'|/({names})/", text)
    return f"table `{next(filter(None, found.groups()))}` is damaged" if found else kind.what


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _said(error: BaseException) -> str:
    """Return the first words of an error, without colours and native stack frames."""
    plain = re.sub(r"\x1b\[[0-9;]*m|↳", "", str(error))
    if _TRACEBACK in plain:  # of a Python worker: its last line is what it says
        before, _, after = plain.partition(_TRACEBACK)
        plain = before + "\n".join(line for line in after.splitlines() if line[:1].strip())
    told = [line for line in plain.splitlines() if line.strip()]
    frames = (at for at, line in enumerate(told) if re.match(r"\s*(0: |at |\tat |JVM stack)", line))
    text = " ".join(" ".join(told[: next(frames, 4) or 4]).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _kept(error: BaseException, verb: str, warehouse: str) -> str:
    """Write the traceback to a file and return its path, or why there is none."""
    text = without_credentials("".join(traceback.format_exception(error)))
    folders, problem = [], "could not be kept"
    if warehouse and Path(warehouse).is_dir():
        folders.append(Path(warehouse) / LOGS)
    with suppress(OSError):  # without a file handle left it finds no folder
        folders.append(Path(tempfile.gettempdir()) / "nightrank-logs")
    for folder in folders:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            file = folder / f"{verb}-{uuid.uuid4().hex[:8]}.log"
            file.write_text(text, "utf-8")
            for old in sorted(folder.glob("*.log"), key=_age)[:-_LOGS_KEPT]:
                old.unlink(missing_ok=True)
        except OSError as unwritable:
            problem = f"could not be kept, {unwritable.strerror}"
        else:
            return str(file)
    return problem


def _age(file: Path) -> float:
    return file.stat().st_mtime if file.exists() else 0.0
