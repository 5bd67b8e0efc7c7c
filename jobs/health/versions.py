"""The model versions and their registry: folders, hashes, aliases, what was left half made.

Trade-off: a store at a tracking URI is asked through MLflow alone; the SQLite file under the
warehouse is also checked page by page.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from jobs.context import Context
from jobs.health.finding import Finding
from jobs.versions.registry import CANDIDATE, CHAMPION
from jobs.versions.workplace import CHECKPOINTS, DAMAGED, PARTIAL, only_maker
from models.errors import InputError
from models.serving.bundle import MANIFEST, open_bundle

_ODD_ENDS = (PARTIAL, DAMAGED, CHECKPOINTS, ".trial")


def version_findings(context: Context) -> Iterator[Finding]:
    """Yield what is wrong with the folder `models` and with the registry."""
    models = context.warehouse.models_folder
    folders = sorted(path for path in models.glob("*") if path.is_dir())
    for folder in folders:
        if folder.name.endswith(PARTIAL):
            yield _left_over(context, folder)
        elif folder.name.endswith(DAMAGED):
            problem = f"{folder} was put aside when its version was made again"
            yield Finding("models", problem, f"look at it, then rm -r {folder}")
        elif not folder.name.endswith(_ODD_ENDS):
            yield from _broken(folder)
    stores = [path for name in ("mlflow.db", "tune.db") if (path := models / name).exists()]
    damaged = [finding for path in stores for finding in _store_findings(path)]
    yield from damaged
    if not damaged:
        yield from _registry_findings(context, {folder.name for folder in folders})


def _left_over(context: Context, folder: Path) -> Finding:
    def remove() -> None:
        with only_maker(context.warehouse, folder.name.split(".")[0]):  # waits for a living one
            shutil.rmtree(folder, ignore_errors=True)

    problem = f"{folder} is a version in the making, or what a killed command has left of one"
    return Finding("models", problem, "nightrank doctor --repair", remove)


def _broken(folder: Path) -> Iterator[Finding]:
    place, again = f"model version {folder.name}", "restore it, or train and export again"
    if not (folder / MANIFEST).exists():
        yield Finding(place, f"{folder} has no {MANIFEST}", again)
        return
    try:
        bundle = open_bundle(folder)
    except InputError as error:
        yield Finding(place, str(error), again)
    else:
        if bundle.version != folder.name:
            yield Finding(place, f"its {MANIFEST} is that of {bundle.version}", again)


def _store_findings(path: Path) -> Iterator[Finding]:
    try:
        store = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            [answer] = store.execute("PRAGMA integrity_check(1)").fetchone()
        finally:
            store.close()
    except sqlite3.Error as error:
        answer = str(error)
    if answer != "ok":
        yield Finding(str(path), f"it is damaged, {answer}", "restore it from a backup")


def _registry_findings(context: Context, folders: set[str]) -> Iterator[Finding]:
    try:
        models, registered = context.warehouse.models_folder, context.registry.registered()
    except Exception as error:  # noqa: BLE001  (whatever MLflow makes of a damaged store)
        words = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        yield Finding("model registry", words, "check `mlflow_tracking_uri`, or restore the store")
        return
    for one in registered:
        named = [alias for alias in (CHAMPION, CANDIDATE) if alias in one.aliases]
        if one.version not in folders:
            kind = f"the {named[0]} " if named else ""
            problem = f"the registry has {kind}{one.version}, whose folder is gone"
            command = "restore its folder, or promote another version"
            yield Finding(f"model version {one.version}", problem, command)
        elif (models / one.version / MANIFEST).exists() and context.registry.altered(one.version):
            problem = f"its {MANIFEST} isn't the one that was registered"
            yield Finding(f"model version {one.version}", problem, "restore it, or train again")
    known = {one.version for one in registered}
    for name in sorted(folders - known):
        if "." not in name:
            problem = "the registry doesn't know it"
            yield Finding(f"model version {name}", problem, "train or export again: it is reused")
