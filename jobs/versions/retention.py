"""Which model versions go: those that no alias, no night and no count names any more.

- What stays: the champion, the candidate, the newest `keep_versions`, whatever made a night that is
  staged or published, the trained version of an export that stays, and the judged version of a
  refit that stays.
- Of a version that goes, the folder, its curves and its entry in the registry go. The folder gets
  the name of a version in the making first: it is gone at once, and a kill leaves what every maker
  of that version, and `doctor --repair`, takes for what it is.
- Checkpoints and half-made folders into which nothing was written for `keep_days` go, too.
- A version goes under its own lock, which a training of it holds, and under that of the champion;
  whatever else names it now is asked for again under these.

Trade-off: the metrics of a version that went stay in MLflow as a run, a few kilobytes each.
"""

import logging
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path

from jobs.versions.registry import CHAMPION, Registry
from jobs.versions.workplace import CHECKPOINTS, PARTIAL, curves_of, only_maker, partial_folder
from jobs.warehouse.delta import Warehouse
from models.errors import InputError
from models.serving.bundle import MANIFEST, read_manifest
from models.serving.manifest import Manifest

LOGGER = logging.getLogger(__name__)
_DAY = 86_400  # seconds


def remove_versions(
    warehouse: Warehouse,
    registry: Registry,
    keep_versions: int,
    of_nights: Callable[[], Collection[str]],
) -> list[str]:
    """Remove the versions that nothing names any more; return them, the newest first.

    `of_nights` returns those that made a night; the caller holds the lock of staged nights.
    """
    if warehouse.remote or not warehouse.models_folder.exists():
        return []
    removed = []
    for version in registry.versions():
        if version in _kept(registry, keep_versions, of_nights()):
            continue
        with only_maker(warehouse, _maker(registry, version)), warehouse.lock(CHAMPION):
            if version not in _kept(registry, keep_versions, of_nights()):
                _remove(registry, version)
                removed.append(version)
    return removed


def remove_leftovers(warehouse: Warehouse, keep_days: int) -> int:
    """Remove what killed trainings and exports have left long ago; return how many folders."""
    if warehouse.remote:
        return 0
    left = [
        folder
        for folder in sorted(warehouse.models_folder.glob("*.*"))
        if folder.name.endswith((PARTIAL, CHECKPOINTS))
        and time.time() - _written(folder) > keep_days * _DAY
    ]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return len(left)


def _kept(registry: Registry, keep_versions: int, of_nights: Collection[str]) -> set[str]:
    known = registry.registered()
    aliased = {one.version for one in known if one.aliases}
    newest = {one.version for one in known[:keep_versions]}
    kept = aliased | newest | set(of_nights)
    return kept.union(*(_made_from(registry, one) for one in kept))


def _made_from(registry: Registry, version: str) -> set[str]:
    """Return the trained and the judged version that a version names."""
    manifest = _manifest(registry, version)
    if manifest is None:
        return set()
    return {one for one in (manifest.trained_version, manifest.judged_version) if one}


def _manifest(registry: Registry, version: str) -> Manifest | None:
    try:
        return read_manifest(registry.folder_of(version))
    except InputError:  # there is none, or it is damaged: then it names nothing
        return None


def _maker(registry: Registry, version: str) -> str:
    """Return the name under which a version is made: of an export that without its quantisation."""
    manifest = _manifest(registry, version)
    exported = manifest is not None and manifest.trained_version and not manifest.judged_version
    return version.rpartition("-")[0] if exported else version


def _remove(registry: Registry, version: str) -> None:
    folder = registry.folder_of(version)
    LOGGER.info("model version %s is removed: no alias and no night names it", version)
    if (folder / MANIFEST).exists():
        folder = folder.rename(partial_folder(folder.parent, folder.name))
    registry.forget(version)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(curves_of(registry.folder_of(version)), ignore_errors=True)


def _written(folder: Path) -> float:
    """Return when something was written into a folder last, in seconds."""
    files = [folder, *folder.rglob("*")]
    return max((path.lstat().st_mtime for path in files if path.exists()), default=0.0)
