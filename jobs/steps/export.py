"""export: prune, distil, quantise and write an ONNX version, if its ranking stays the same.

- The trained version stays as it is; the export makes a version of its own, named after both, so
  that a champion's files never change under it.
- The parity gate ranks the validation users with both. Over `parity_tolerance` nothing is
  registered.
- The compression report sets the stages beside each other.
"""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from jobs.context import Context
from jobs.gate.ladder import Ladder
from jobs.gate.parity import Gate, Trials, prepare, refuse_loss
from jobs.gate.quantisation_choice import choose_quantisation
from jobs.reports.compression import write_compression
from jobs.settings.model import Settings
from jobs.versions.registry import Registry
from models.compression.onnx_export import export_encoder, write_towers
from models.compression.options import QuantisationOptions, StudentOptions
from models.compression.student import stages, user_score_metric
from models.compression.throughput import eager
from models.errors import InputError
from models.network.encoder import TextEncoder
from models.network.towers import TwoTowers
from models.serving.bundle import (
    ENCODER,
    MANIFEST,
    RANKER,
    Bundle,
    open_bundle,
    write_manifest,
)
from models.serving.night import usable_device
from models.serving.ranker_graph import build_ranker
from models.training.weights import ENCODER_WEIGHTS, load_encoder, load_towers

LOGGER = logging.getLogger(__name__)


def run(context: Context, model_version: str | None = None) -> dict[str, Any]:
    """Compress a trained version; the result is the new candidate."""
    started, registry = perf_counter(), context.registry
    with context.recorded("export") as record:
        trained = _trained(registry, model_version)
        version = f"{trained.version}-{_digest(context.settings)}"
        record.model_version = version
        record.inputs |= trained.manifest.tables
        folder = registry.folder_of(version)
        reused = (folder / MANIFEST).exists()
        bundle = open_bundle(folder) if reused else _export(context, trained, version, folder)
        metrics = bundle.manifest.metrics
        registry.register(bundle)
        registry.log_metrics(version, metrics)
    return {
        "model_version": version,
        "reused": reused,
        "seconds": round(perf_counter() - started, 1),
        "encoder_bytes": bundle.manifest.files[ENCODER].bytes,
        **metrics,
    }


def _trained(registry: Registry, model_version: str | None) -> Bundle:
    bundle = registry.candidate(model_version)
    source = bundle.manifest.trained_version
    return registry.candidate(source) if source else bundle


def _digest(settings: Settings) -> str:
    chosen = json.dumps(_chosen(settings), sort_keys=True)
    return hashlib.sha256(chosen.encode()).hexdigest()[:6]


def _chosen(settings: Settings) -> dict[str, Any]:
    names = (*StudentOptions.names(), *QuantisationOptions.names())
    return {name: getattr(settings, name) for name in names}


def _export(context: Context, trained: Bundle, version: str, folder: Path) -> Bundle:
    settings = context.settings
    partial = folder.with_name(f"{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(trained.folder, partial, copy_function=os.link)
    (partial / MANIFEST).unlink()
    towers = load_towers(trained)
    write_towers(towers, trained.manifest.encoder.text_dim, partial)
    build_ranker(partial / RANKER)
    manifest = replace(
        trained.manifest,
        version=version,
        trained_version=trained.version,
        export_settings=_chosen(settings),
    )
    bundle = write_manifest(partial, manifest)
    trials = prepare(context.warehouse, trained, towers, settings.seed)
    rungs = Ladder(Gate(trials, bundle, towers), trials.texts)
    student = _student(settings, trained, trials, towers, rungs)
    device = usable_device(bundle, settings.device)
    quantisation, measured = choose_quantisation(
        settings.quantisation, student, device, trials.texts, rungs.threads
    )
    export_encoder(student, partial, quantisation)
    bundle = write_manifest(partial, manifest)
    parity = rungs.gate.parity(bundle, rungs.add_exported("shipped", bundle.encoder))
    try:
        refuse_loss(parity, settings.parity_tolerance)
    except InputError:
        shutil.rmtree(partial)
        raise
    page = write_compression(Path(settings.reports), version, rungs.measured(), measured, parity)
    LOGGER.info("%s\n%s", page, parity.table())
    metrics = {f"parity_{name}": value for name, value in parity.metrics().items()}
    write_manifest(partial, replace(manifest, metrics={**trained.manifest.metrics, **metrics}))
    partial.rename(folder)
    return open_bundle(folder)


def _student(
    settings: Settings, trained: Bundle, trials: Trials, towers: TwoTowers, rungs: Ladder
) -> TextEncoder:
    """Return the small encoder; its stages become rungs where the setting asks for them."""
    encoder = load_encoder(trained)
    size = trained.path(ENCODER_WEIGHTS).stat().st_size
    rungs.add("fine_tuned", size, eager(encoder, rungs.threads), trials.vectors)
    options = StudentOptions.of(settings.model_dump())
    metric = user_score_metric(towers, trials.validation, trials.profiles, trained)
    student = encoder
    for name, student in stages(encoder, trials.texts, metric, options):
        if settings.compression_ladder:
            rungs.add_stage(name, student)
    return student
