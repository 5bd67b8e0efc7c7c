"""What the machine gives: room on the disk, rights, links that lead somewhere, Java and JARs.

Trade-off: whether there is room enough is a guess; a tenth of what the warehouse holds, and never
less than 200 MB.
"""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from jobs.health.finding import Finding
from jobs.spark.java import java_home
from jobs.spark.session import delta_jars
from jobs.warehouse.delta import Warehouse
from models.errors import InputError

LEAST_ROOM = 200 * 2**20


def machine_findings(warehouse: Warehouse) -> Iterator[Finding]:
    """Yield what a command would fail for, whatever the tables hold."""
    yield from _platform()
    if warehouse.remote:
        return
    root = Path(warehouse.root)
    for path in sorted(root.rglob("*")):
        if path.is_symlink() and not _leads_somewhere(path):
            yield Finding(str(path), "it is a link that leads nowhere", "mend the link")
    yield from _rights(root)
    room, needed = shutil.disk_usage(root).free, max(LEAST_ROOM, _bytes_under(root) // 10)
    if room < needed:
        problem = f"{room // 2**20} MB are left on its disk, {needed // 2**20} MB should be"
        yield Finding(str(root), problem, "free some space, or run nightrank maintain")


def _platform() -> Iterator[Finding]:
    try:
        java_home()
    except InputError as error:
        yield Finding("Java", str(error), "make setup")
    try:
        for jar in delta_jars():
            if not zipfile.is_zipfile(jar):
                yield Finding(str(jar), "it is damaged", "remove it, then make setup")
    except InputError as error:
        yield Finding("Delta's JARs", str(error), "make setup")


def _rights(root: Path) -> Iterator[Finding]:
    locks = root / ".locks"
    if locks.exists() and not locks.is_dir():
        yield Finding(str(locks), "it should be a folder", f"rm {locks}")
        return
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            yield Finding(str(folder), f"it can't be written, {error.strerror}", "check its owner")


def _leads_somewhere(link: Path) -> bool:
    try:
        return link.exists()
    except (OSError, RuntimeError):  # a link to itself
        return False


def _bytes_under(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
