"""train: fine-tune the language model and the towers; write a candidate version.

- The version's name is the hash of the settings, the table versions and the code's version: the
  same inputs give the same name and the same bytes, and are not trained twice.
- Checkpoints lie beside the versions until training has ended, so that a killed run resumes.
"""

import hashlib
import json
import logging
import shutil
from dataclasses import fields
from importlib.metadata import version as library_version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from safetensors.torch import save_file

from jobs import registry
from jobs.dataset_reader import Dataset, read_dataset
from jobs.lineage import recorded
from jobs.settings import Settings
from jobs.warehouse import Warehouse
from models.bundle import (
    FINE_TUNED_VECTORS,
    MANIFEST,
    PRETRAINED_VECTORS,
    TEXTS,
    Bundle,
    open_bundle,
    write_manifest,
)
from models.encoder import TextEncoder, load_language_model
from models.finetune import FinetuneOptions, TrainingTask, finetune, profile_rows
from models.splits import make_split
from models.teacher import collaborative_start
from models.texts import item_texts
from models.weights import ENCODER_WEIGHTS, TOWER_WEIGHTS

_log = logging.getLogger("nightrank.train")

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
    names += ["encoder", "max_tokens", "factors", "positive_threshold", "teacher_ridge"]
    return {name: getattr(settings, name) for name in sorted(names)}


def _train(settings: Settings, dataset: Dataset, version: str, folder: Path) -> Bundle:
    options = FinetuneOptions(
        **{f.name: getattr(settings, f.name) for f in fields(FinetuneOptions)}
    )
    model, tokenizer = load_language_model(settings.encoder)
    encoder = TextEncoder(model, tokenizer, settings.max_tokens)
    task = _task(settings, dataset)
    texts = [*task.item_texts, *profile_rows(task)]
    checkpoints = folder.with_name(f"{version}.checkpoints")
    result = finetune(encoder, task, options, checkpoints)
    tuned = result.model
    partial = folder.with_name(f"{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "training").mkdir(parents=True)
    save_file(tuned.bank.encoder.model.state_dict(), partial / ENCODER_WEIGHTS)
    save_file(tuned.towers.state_dict(), partial / TOWER_WEIGHTS)
    np.save(partial / PRETRAINED_VECTORS, result.pretrained_vectors)
    np.save(partial / FINE_TUNED_VECTORS, tuned.bank.vectors.cpu().numpy())
    (partial / TEXTS).write_text(json.dumps(texts, ensure_ascii=False), "utf-8")
    best = max(entry.get("eval_ndcg@10", 0.0) for entry in result.curve)
    write_manifest(
        partial,
        {
            "version": version,
            "settings": _training_settings(settings),
            "tables": dataset.versions,
            "item_ids": list(dataset.catalogue.item_ids),
            "max_tokens": encoder.max_tokens,
            "text_dim": encoder.width,
            "history_length": settings.history_length,
            "metrics": {"validation_ndcg@10": best},
            "learning_curve": result.curve,
            "libraries": {name: library_version(name) for name in LIBRARIES},
            "trained_parameters": sum(p.numel() for p in tuned.parameters() if p.requires_grad),
        },
    )
    partial.rename(folder)
    shutil.rmtree(checkpoints)
    return open_bundle(folder)


def _task(settings: Settings, dataset: Dataset) -> TrainingTask:
    split = make_split("warm", dataset.interactions, settings.positive_threshold)
    return TrainingTask(
        item_texts=item_texts(dataset.catalogue),
        profiles=dataset.profiles,
        labelled=split.labelled_fit,
        trial=split.tuning,
        threshold=settings.positive_threshold,
        start=collaborative_start(
            split.fit, settings.factors, settings.teacher_ridge, settings.seed
        ),
    )
