"""export: prune, distil, quantise and write an ONNX version, if its ranking stays the same.

- The trained version stays as it is. The export makes a version of its own, named by the trained
  one, settings, code and quantisation, so that a champion's files never change.
- The parity gate ranks the validation users with both encoders. Where the loss is larger than
  `parity_tolerance`, nothing is registered.
- The compression report compares size, speed and quality of the stages.
"""

import logging
from pathlib import Path
from time import perf_counter
from typing import Any

from jobs.context import Context
from jobs.gate.ladder import Ladder
from jobs.gate.machine import machine_of
from jobs.gate.parity import Gate, Trials, prepare, refuse_loss
from jobs.gate.quantisation_choice import choose_quantisation
from jobs.reports.compression import write_compression
from jobs.settings.model import Settings
from jobs.versions.draft import Draft
from jobs.versions.exported import ExportInputs
from jobs.versions.registry import Registry
from jobs.versions.workplace import only_maker, whole_version
from models.compression.options import QuantisationOptions, StudentOptions
from models.compression.student import stages, user_score_metric
from models.compression.throughput import eager
from models.network.encoder import TextEncoder
from models.network.towers import TwoTowers
from models.serving.bundle import ENCODER, Bundle, open_bundle
from models.serving.night import usable_device
from models.serving.ranker_graph import ranker_model
from models.training.weights import ENCODER_WEIGHTS, load_encoder, load_towers

LOGGER = logging.getLogger(__name__)


def run(context: Context, model_version: str | None = None) -> dict[str, Any]:
    """Compress a trained version; the result is the new candidate."""
    started, registry = perf_counter(), context.registry
    with context.recorded("export") as record:
        trained = _trained(registry, model_version)
        record.model_version = trained.version  # the export's own where it succeeds
        record.inputs |= trained.manifest.tables
        device = usable_device(ranker_model(), context.settings.device)
        inputs = _inputs(context.settings, trained, device)
        with only_maker(context.warehouse, inputs.prefix):
            before = inputs.made_before(context.warehouse.models_folder)
            found = whole_version(registry, before) if before else None
            bundle = found or _export(context, inputs, device)
            record.model_version = bundle.version
            metrics = bundle.manifest.metrics
            registry.register(bundle)
            registry.log_metrics(bundle.version, metrics)
    return {
        "model_version": bundle.version,
        "reused": found is not None,
        "seconds": round(perf_counter() - started, 1),
        "encoder_bytes": bundle.manifest.files[ENCODER].bytes,
        **metrics,
    }


def _trained(registry: Registry, model_version: str | None) -> Bundle:
    bundle = registry.candidate(model_version)
    source = bundle.manifest.trained_version
    return registry.candidate(source) if source else bundle


def _inputs(settings: Settings, trained: Bundle, device: str) -> ExportInputs:
    names = (*StudentOptions.names(), *QuantisationOptions.names())
    machine = machine_of(device) if settings.quantisation == "auto" else None
    return ExportInputs(trained, {name: getattr(settings, name) for name in names}, machine)


def _export(context: Context, inputs: ExportInputs, device: str) -> Bundle:
    """Write and return the exported version; InputError where its ranking isn't the same."""
    settings, trained = context.settings, inputs.trained
    towers = load_towers(trained)
    with Draft(inputs, context.warehouse.models_folder) as draft:
        draft.add_towers(towers)
        trials = prepare(context.warehouse, trained, towers, settings.seed)
        gate = Gate(trials, draft.bundle, towers)
        ladder = Ladder(gate, trials.texts)
        student = _student(settings, trained, trials, towers, ladder)
        quantisation, measured = choose_quantisation(
            settings.quantisation, student, device, trials.texts, ladder.threads
        )
        shipped = draft.add_encoder(student, quantisation)
        parity = gate.parity(draft.bundle, ladder.add_exported("shipped", shipped))
        refuse_loss(parity, settings.parity_tolerance)
        reports, version = Path(settings.reports), draft.bundle.version
        page = write_compression(reports, version, ladder.measured(), measured, parity)
        LOGGER.info("%s\n%s", page, parity.table())
        folder = draft.complete({f"parity_{k}": v for k, v in parity.metrics().items()})
    return open_bundle(folder)


def _student(
    settings: Settings, trained: Bundle, trials: Trials, towers: TwoTowers, ladder: Ladder
) -> TextEncoder:
    """Return the small encoder; its stages are measured too where `compression_ladder` says so."""
    encoder = load_encoder(trained)
    size = trained.path(ENCODER_WEIGHTS).stat().st_size
    ladder.add("fine_tuned", size, eager(encoder, ladder.threads), trials.vectors)
    options = StudentOptions.of(settings.model_dump())
    metric = user_score_metric(towers, trials.validation, trials.profiles, trained)
    student = encoder
    for name, student in stages(encoder, trials.texts, metric, options):
        if settings.compression_ladder:
            ladder.add_stage(name, student)
    return student
