"""train: fine-tune the language model and the towers; write a candidate version.

- The version's name is the hash of the settings, the table versions and the code's version: the
  same inputs give the same name and the same bytes, and are not trained twice.
- Checkpoints lie beside the versions until training has ended, so that a killed run resumes.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, fields
from importlib.metadata import version as library_version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from jobs import registry
from jobs.dataset_reader import Dataset, read_dataset
from jobs.lineage import recorded
from jobs.settings import Settings
from jobs.warehouse import Warehouse
from models.attributes import AttributeColumns
from models.bundle import MANIFEST, Bundle, open_bundle, write_manifest
from models.encoder import TextEncoder, load_language_model
from models.finetune import finetune
from models.splits import make_split
from models.task import FinetuneOptions, TrainingTask
from models.texts import item_texts
from models.weights import save_weights

LIBRARIES = ("nightrank", "torch", "transformers", "optimum", "onnxruntime-gpu", "numpy")


def run(settings: Settings) -> dict[str, Any]:
    """Train, write the version, register it as the candidate."""
    warehouse = Warehouse(settings.warehouse)
    with recorded(settings, "train") as record:
        dataset = read_dataset(warehouse)
        record.inputs |= dataset.versions
        record.rows["interactions"] = len(dataset.interactions)
        version = version_name(settings, dataset.versions)
        record.model_version = version
        folder = registry.folder_of(settings, version)
        started = perf_counter()
        reused = (folder / MANIFEST).exists()
        bundle = open_bundle(folder) if reused else _train(settings, dataset, version, folder)
        registry.register(settings, bundle)
        registry.log_metrics(settings, version, bundle.manifest["metrics"])
    return {
        "model_version": version,
        "reused": reused,
        "seconds": round(perf_counter() - started, 1),
        **bundle.manifest["metrics"],
    }


def version_name(settings: Settings, table_versions: dict[str, int]) -> str:
    """Return the name of the version that these inputs make."""
    identity = {
        "settings": _training_settings(settings),
        "tables": table_versions,
        "code": library_version("nightrank"),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _training_settings(settings: Settings) -> dict[str, Any]:
    names = [f.name for f in fields(FinetuneOptions)]
    names += ["encoder", "max_tokens", "positive_threshold", "split"]
    return {name: getattr(settings, name) for name in sorted(names)}


def _train(settings: Settings, dataset: Dataset, version: str, folder: Path) -> Bundle:
    model, tokenizer = load_language_model(settings.encoder)
    encoder = TextEncoder(model, tokenizer, settings.max_tokens)
    columns = AttributeColumns.fit(dataset.catalogue.attributes)
    task = _task(settings, dataset, columns)
    options = FinetuneOptions(
        **{f.name: getattr(settings, f.name) for f in fields(FinetuneOptions)}
    )
    checkpoints = folder.with_name(f"{version}.checkpoints")
    result = finetune(encoder, task, options, checkpoints)
    partial = folder.with_name(f"{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_weights(result, task, columns, partial)
    item_ids = np.array(dataset.catalogue.item_ids, dtype=object)
    write_manifest(
        partial,
        {
            "version": version,
            "split": settings.split,
            "settings": _training_settings(settings),
            "tables": dataset.versions,
            "item_ids": item_ids[result.model.towers.known.cpu().numpy()].tolist(),
            "rated_item_ids": item_ids[result.interest.rated].tolist(),
            "blocks": [asdict(block) for block in result.model.towers.users.blocks],
            "popularity": asdict(result.model.towers.users.popularity),
            "max_tokens": encoder.max_tokens,
            "text_dim": encoder.width,
            "history_length": settings.history_length,
            "metrics": result.metrics,
            "learning_curve": result.curve,
            "libraries": {name: library_version(name) for name in LIBRARIES},
        },
    )
    partial.rename(folder)
    shutil.rmtree(checkpoints)
    return open_bundle(folder)


def _task(settings: Settings, dataset: Dataset, columns: AttributeColumns) -> TrainingTask:
    return TrainingTask(
        item_texts=item_texts(dataset.catalogue),
        profiles=dataset.profiles,
        split=make_split(settings.split, dataset.interactions, settings.positive_threshold),
        columns=columns.encode(dataset.catalogue.attributes),
    )
