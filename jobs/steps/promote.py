"""promote: make a version the champion, if it ranks no worse than today's, or than the baselines.

- The floor: a version is refused that was worse than the best baseline when it was evaluated
  (`jobs.gate.floor`), also where it would be the first champion.
- The exam: both versions are asked the same on today's tables (`jobs.gate.exam`), and the candidate
  is refused where it is worse beyond the interval and `promote_tolerance`.
- The refit: what becomes the champion is the version fitted again to everything in the tables, the
  judged part too, unless its lists surprise (`jobs.gate.refit_guard`).
- Where another version has become the champion meanwhile, the exam is held again, with that one:
  of two versions that are promoted at once the second is compared with the first.

Trade-off: a refit is served though nobody can judge it; `--as-judged` serves what was judged.
"""

import logging
from typing import Any

from jobs.context import Context
from jobs.gate.exam import Compared, examine
from jobs.gate.floor import refuse_below_baselines
from jobs.gate.refit_guard import likeness, refuse_surprise
from jobs.reports.text_table import aligned
from jobs.versions.refitted import refitted
from jobs.versions.registry import CHAMPION
from jobs.warehouse.dataset import Dataset, read_dataset
from jobs.warehouse.footprint import needs_of_training, refuse_too_large, size_of
from models.errors import InputError
from models.serving.bundle import Bundle
from models.serving.text_vectors import TextEncoders

LISTED = 10

_log = logging.getLogger("nightrank.promote")


def run(
    context: Context, version: str | None = None, dry_run: bool = False, as_judged: bool = False
) -> dict[str, Any]:
    """Promote `version`, the candidate where None; InputError where the gate refuses it.

    A `dry_run` shows the exam and changes nothing; `as_judged` serves the version without a refit.
    """
    settings, registry = context.settings, context.registry
    judged = _judged(context, version)
    tolerance = settings.promote_tolerance
    refuse_below_baselines(registry.metrics_of(judged.version), judged.version, tolerance)
    encoders, size = TextEncoders(), size_of(context.warehouse, judged.manifest.settings.factors)
    refuse_too_large("promote", needs_of_training(size), settings.memory_gb)
    if dry_run:
        champion = registry.version_of(CHAMPION)
        compared = _exam(context, read_dataset(context.warehouse), judged, champion, encoders)
        return _shown({"version": judged.version}, compared, tolerance)
    with context.recorded("promote", model_version=judged.version) as record:
        dataset = read_dataset(context.warehouse)
        record.inputs |= dataset.versions
        before, compared = _passed(context, dataset, judged, encoders)
        served = judged if as_judged else _served(context, dataset, judged, encoders)
        record.model_version = served.version
        while not _replaced(context, before, served.version):
            before, compared = _passed(context, dataset, judged, encoders)
    result = {"champion": served.version, "judged": judged.version, "before": before}
    return _shown(result, compared, tolerance)


def _judged(context: Context, version: str | None) -> Bundle:
    """Return the version to promote; of a refit the version that was judged."""
    found = context.registry.judged(version)
    if not found.exported:
        raise InputError(
            f"model version {found.version} is not exported: run `nightrank export` first"
        )
    return found


def _replaced(context: Context, before: str | None, version: str) -> bool:
    """Make `version` the champion if `before` still is; return whether it was."""
    with context.warehouse.lock(CHAMPION):
        if context.registry.version_of(CHAMPION) != before:
            return False
        context.registry.set_alias(CHAMPION, version)
    return True


def _exam(
    context: Context, dataset: Dataset, judged: Bundle, champion: str | None, encoders: TextEncoders
) -> list[Compared]:
    """Return what the exam found; nothing where there is no `champion` to compare with."""
    if champion is None:
        return []
    try:
        other = context.registry.judged(champion)
    except InputError as error:  # the way out of a damaged champion is another one
        _log.warning("the champion can't be compared: %s", error)
        return []
    if other.version == judged.version:
        return []
    found = examine(dataset, judged, other, context.settings.bootstrap_resamples, encoders)
    if not found:
        _log.warning("the champion isn't compared: the tables have too few likes to withhold any")
    return found


def _passed(
    context: Context, dataset: Dataset, judged: Bundle, encoders: TextEncoders
) -> tuple[str | None, list[Compared]]:
    """Return today's champion and the exam against it; InputError where the candidate loses."""
    champion, tolerance = context.registry.version_of(CHAMPION), context.settings.promote_tolerance
    compared = _exam(context, dataset, judged, champion, encoders)
    for one in compared:
        if one.is_loss(tolerance):
            low, mean, high = one.gain
            raise InputError(
                f"gate: asked as {one.asked}, {one.users} users, the candidate has NDCG@10 "
                f"{one.candidate:.4f}, the champion {one.champion:.4f}, difference {mean:+.4f} "
                f"[{low:+.4f}, {high:+.4f}], and setting `promote_tolerance` allows a loss of "
                f"{tolerance:.1%}; the champion stays"
            )
    return champion, compared


def _shown(done: dict[str, Any], compared: list[Compared], tolerance: float) -> dict[str, Any]:
    """Return what was done, and the exam for people and programs."""
    columns = ("asked", "users", "champion", "candidate", "gain", "low", "high", "passed")
    rows = [
        (
            one.asked, one.users, one.champion, one.candidate,
            one.gain[1], one.gain[0], one.gain[2], not one.is_loss(tolerance),
        )
        for one in compared
    ]  # fmt: skip
    lines = [f"{name:<9} {value or 'none'}" for name, value in done.items()]
    text = "\n".join([*lines, aligned(columns, rows) if rows else "nothing to compare with"])
    return {**done, "exam": [dict(zip(columns, row, strict=True)) for row in rows], "text": text}


def _served(context: Context, dataset: Dataset, judged: Bundle, encoders: TextEncoders) -> Bundle:
    """Return the refit of the judged version; InputError where its lists surprise."""
    if judged.manifest.fitted_with is None:
        _log.warning(
            "%s serves as it was judged: an earlier nightrank trained it, without a note of what "
            "it was fitted with", judged.version,
        )  # fmt: skip
        return judged
    settings = context.settings
    found = refitted(context.warehouse, context.registry, judged, dataset, encoders.of(judged))
    alike = likeness(dataset, judged, found, LISTED, encoders)
    _log.info("refit beside the judged version: %s", alike)
    refuse_surprise(alike, settings.refit_overlap, settings.refit_coverage)
    return found
