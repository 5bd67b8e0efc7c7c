"""export: prune, distil, quantise and write an ONNX version, if its ranking stays the same.

- The trained version stays as it is; the export makes a version of its own, named after both, so
  that a champion's files never change under it.
- The parity gate ranks the validation users with both. Over `parity_tolerance` nothing is
  registered.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from jobs import registry
from jobs.dataset_reader import read_dataset
from jobs.lineage import recorded
from jobs.settings import Settings
from jobs.warehouse import Warehouse
from models.bundle import (
    FINE_TUNED_VECTORS,
    HISTORY_FACTORS,
    ITEM_FACTORS,
    MANIFEST,
    RANKER,
    TEXTS,
    Bundle,
    open_bundle,
    write_manifest,
)
from models.comparison import ask, judge
from models.compress import distil, export_encoder, export_towers, prune_layers
from models.errors import InputError
from models.parity import Parity, compare
from models.serving import TextVectors
from models.splits import make_split
from models.topk import build_ranker
from models.variants import open_variant
from models.weights import load_encoder, load_towers

EXPORT_SETTINGS = ("keep_layers", "distil_epochs", "distil_learning_rate", "quantisation")


def run(settings: Settings, model_version: str | None = None) -> dict[str, Any]:
    """Compress a trained version; the result is the new candidate."""
    started = perf_counter()
    with recorded(settings, "export") as record:
        trained = _trained(settings, model_version)
        version = f"{trained.version}-{_digest(settings)}"
        record.model_version = version
        record.inputs |= trained.manifest["tables"]
        folder = registry.folder_of(settings, version)
        reused = (folder / MANIFEST).exists()
        bundle = open_bundle(folder) if reused else _export(settings, trained, version, folder)
        metrics = bundle.manifest["metrics"]
        registry.register(settings, bundle)
        registry.log_metrics(settings, version, metrics)
    return {
        "model_version": version,
        "reused": reused,
        "seconds": round(perf_counter() - started, 1),
        "encoder_bytes": bundle.manifest["files"]["encoder.onnx"]["bytes"],
        **metrics,
    }


def _trained(settings: Settings, model_version: str | None) -> Bundle:
    bundle = registry.candidate(settings, model_version)
    source = bundle.manifest.get("trained_version")
    return registry.candidate(settings, source) if source else bundle


def _digest(settings: Settings) -> str:
    chosen = json.dumps(_chosen(settings), sort_keys=True)
    return hashlib.sha256(chosen.encode()).hexdigest()[:6]


def _chosen(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in EXPORT_SETTINGS}


def _export(settings: Settings, trained: Bundle, version: str, folder: Path) -> Bundle:
    partial = folder.with_name(f"{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(trained.folder, partial, copy_function=os.link)
    (partial / MANIFEST).unlink()
    texts: list[str] = json.loads(trained.path(TEXTS).read_text("utf-8"))
    student = prune_layers(load_encoder(trained), settings.keep_layers)
    cosine = distil(
        student,
        texts,
        np.array(trained.array(FINE_TUNED_VECTORS)),
        settings.distil_epochs,
        settings.distil_learning_rate,
        settings.seed,
    )
    export_encoder(student, partial, settings.quantisation)
    towers = load_towers(trained)
    np.save(partial / ITEM_FACTORS, towers.own_ranking[towers.known].numpy())
    np.save(partial / HISTORY_FACTORS, towers.own_history[towers.known].numpy())
    export_towers(towers, int(trained.manifest["text_dim"]), partial)
    build_ranker(partial / RANKER)
    manifest = {
        **trained.manifest,
        "version": version,
        "trained_version": trained.version,
        "export_settings": _chosen(settings),
    }
    bundle = write_manifest(partial, manifest)
    parity = _parity(settings, bundle, texts)
    if parity.relative_loss > settings.parity_tolerance:
        shutil.rmtree(partial)
        raise InputError(_refusal(parity, settings.parity_tolerance))
    metrics = {
        **trained.manifest["metrics"],
        "distillation_cosine": cosine,
        **{f"parity_{name}": value for name, value in parity.metrics().items()},
    }
    write_manifest(partial, {**manifest, "metrics": metrics})
    partial.rename(folder)
    return open_bundle(folder)


def _refusal(parity: Parity, tolerance: float) -> str:
    return (
        f"parity gate: compression takes NDCG@10 from {parity.ndcg_fine_tuned:.4f} to "
        f"{parity.ndcg_shipped:.4f} on validation, {parity.relative_loss:.1%} of it, and setting "
        f"`parity_tolerance` allows {tolerance:.1%} (top-10 overlap {parity.overlap:.1%}): keep "
        "more layers or distil longer; nothing was registered"
    )


def _parity(settings: Settings, bundle: Bundle, texts: Sequence[str]) -> Parity:
    dataset = read_dataset(Warehouse(settings.warehouse), bundle.manifest["tables"])
    name, threshold = bundle.manifest["split"], bundle.positive_threshold
    question = ask(make_split(name, dataset.interactions, threshold).tuning, dataset.profiles)
    threads = os.cpu_count() or 1
    fine_tuned, shipped = (
        judge(question, open_variant(bundle, variant, dataset.catalogue, threads).score)
        for variant in ("fine_tuned", "shipped")
    )
    vectors = np.asarray(bundle.array(FINE_TUNED_VECTORS))
    return compare(fine_tuned, shipped, vectors, TextVectors(bundle, threads).encode(texts))
