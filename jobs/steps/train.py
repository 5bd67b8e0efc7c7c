"""train: fine-tune the language model and the towers; write a candidate version.

- The version's name is the hash of the settings, the data and the code: the same inputs
  give the same name and the same bytes, and are not trained twice.
- Checkpoints lie beside the versions until training has ended, so that a killed run resumes; the
  curves for TensorBoard stay, in `tensorboard/` under the warehouse.
- Two runs with the same inputs train once: the lock of the version is held until it is registered.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.versions.trained import training_settings, version_name, write_version
from jobs.versions.workplace import CHECKPOINTS, curves_of, only_maker, whole_version
from jobs.warehouse.dataset import Dataset, read_dataset
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.footprint import needs_of_training, refuse_too_large, size_of
from jobs.warehouse.kinds import with_had_from
from models.errors import InputError
from models.network.processes import run_in_processes
from models.serving.bundle import Bundle, open_bundle


def run(context: Context) -> dict[str, Any]:
    """Train, write the version, register it as the candidate."""
    settings, registry = context.settings, context.registry
    size = size_of(context.warehouse, settings.factors)
    refuse_too_large("train", needs_of_training(size), settings.memory_gb)
    with context.recorded("train") as record:
        dataset = read_dataset(context.warehouse)
        record.inputs |= dataset.versions
        record.rows["interactions"] = len(dataset.interactions)
        settings = with_had_from(settings, context.warehouse, dataset.versions)
        context = replace(context, settings=settings)
        version = version_name(settings, dataset)
        record.model_version = version
        folder = registry.folder_of(version)
        started = perf_counter()
        with only_maker(context.warehouse, version):
            found = whole_version(registry, folder)
            reused = found is not None
            bundle = found or _train(context, dataset, version, folder)
            _keep_curves(folder)
            registry.register(bundle)
            registry.log_metrics(version, bundle.manifest.metrics)
    return {
        "model_version": version,
        "reused": reused,
        "seconds": round(perf_counter() - started, 1),
        **bundle.manifest.metrics,
    }


def _train(context: Context, dataset: Dataset, version: str, folder: Path) -> Bundle:
    settings = context.settings
    checkpoints = _checkpoints(folder)
    _refuse_other_settings(settings, checkpoints)
    if settings.processes > 1:
        run_in_processes(
            settings.processes, _share, context.warehouse, settings, version, folder, checkpoints
        )
    else:
        write_version(settings, dataset, version, folder, checkpoints)
    return open_bundle(folder)


def _checkpoints(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{CHECKPOINTS}")


def _keep_curves(folder: Path) -> None:
    """Move the curves to their place and remove the checkpoints, where an earlier run didn't."""
    checkpoints = _checkpoints(folder)
    if (checkpoints / "tensorboard").exists():
        curves = curves_of(folder)
        shutil.rmtree(curves, ignore_errors=True)
        shutil.move(checkpoints / "tensorboard", curves)
    shutil.rmtree(checkpoints, ignore_errors=True)


def _share(
    warehouse: Warehouse, settings: Settings, version: str, folder: Path, checkpoints: Path
) -> None:
    """Train as one of several processes."""
    dataset = read_dataset(warehouse)
    write_version(settings, dataset, version, folder, checkpoints)


def _refuse_other_settings(settings: Settings, checkpoints: Path) -> None:
    """Note the settings beside the checkpoints; InputError where they were made with others."""
    ours, note = training_settings(settings), checkpoints / "settings.json"
    if note.exists():
        theirs = json.loads(note.read_text("utf-8"))
        other = [name for name in ours if theirs.get(name) != ours[name]]
        if other:
            raise InputError(f"{checkpoints} holds a training with another `{other[0]}`: remove it")
    checkpoints.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(ours), "utf-8")
