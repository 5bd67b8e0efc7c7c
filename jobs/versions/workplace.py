"""Where a version is made: under a lock of its own, in a folder that only its maker writes.

- Whoever makes a version holds its lock, so that two commands with the same inputs make it once:
  the second waits, and finds it.
- Every maker writes into a folder with a name of its own. What killed ones left is removed by the
  next holder of the lock.
- A version that is damaged is made again; the damaged folder is put aside, not deleted.

Trade-off: the second of two equal commands waits for the first instead of saying so at once.
"""

import logging
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.versions.registry import Registry
from jobs.warehouse.delta import Warehouse
from models.errors import InputError
from models.serving.bundle import MANIFEST, Bundle

LOGGER = logging.getLogger(__name__)
PARTIAL, DAMAGED, CHECKPOINTS = ".partial", ".damaged", ".checkpoints"


@contextmanager
def only_maker(warehouse: Warehouse, name: str) -> Iterator[None]:
    """Hold the lock of the version `name`, and remove what killed makers of it have left."""
    with warehouse.lock(f"version-{name}"):
        for left in warehouse.models_folder.glob(f"{name}.*{PARTIAL}"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def partial_folder(models_folder: Path, name: str) -> Path:
    """Return a path for a version in the making that no other maker uses; nothing is made."""
    return models_folder / f"{name}.{uuid.uuid4().hex[:8]}{PARTIAL}"


def whole_version(registry: Registry, folder: Path) -> Bundle | None:
    """Return the version in `folder`; None where there is none, or it is damaged or altered."""
    if not (folder / MANIFEST).exists():
        return None
    try:
        return registry.candidate(folder.name)
    except InputError as error:
        LOGGER.warning("%s; the version is made again", error)
        return None


def put_in_place(partial: Path, folder: Path) -> Path:
    """Give a complete version its own name, and put aside what stands there; return its folder.

    The caller holds the lock of the version.
    """
    if folder.exists():
        aside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}{DAMAGED}")
        LOGGER.warning("%s is put aside as %s", folder, aside.name)
        folder.rename(aside)
    return partial.rename(folder)


def curves_of(folder: Path) -> Path:
    """Return where TensorBoard's curves of the version in `folder` stand."""
    return folder.parents[1] / "tensorboard" / folder.name
