"""promote: make a version the champion, if it ranks no worse than today's.

- The gate compares NDCG@10 on the `warm` split as `evaluate` measured it for both. Where the
  champion was measured on other table versions, it has to be evaluated again on today's first.
"""

from typing import Any

from jobs.context import Context
from jobs.versions.registry import CHAMPION, Registry
from models.errors import InputError

GATE_METRIC = "warm_ndcg@10"


def run(context: Context, version: str | None = None) -> dict[str, Any]:
    """Promote `version`, the candidate where None; InputError where the gate refuses it."""
    registry, tolerance = context.registry, context.settings.promote_tolerance
    with context.recorded("promote") as record:
        bundle = registry.candidate(version)
        record.model_version = bundle.version
        record.inputs |= bundle.manifest.tables
        if not bundle.exported:
            raise InputError(
                f"model version {bundle.version} is not exported: run `nightrank export` first"
            )
        before = registry.version_of(CHAMPION)
        ours = _measured(registry, bundle.version)
        theirs = None if before is None else _measured(registry, before)
        if theirs is not None and ours < theirs * (1.0 - tolerance):
            raise InputError(
                f"gate: version {bundle.version} has NDCG@10 {ours:.4f}, the champion {before} "
                f"{theirs:.4f}, and setting `promote_tolerance` allows a loss of "
                f"{tolerance:.1%}; the champion stays"
            )
        registry.set_alias(CHAMPION, bundle.version)
    return {"champion": bundle.version, "before": before, "ndcg@10": ours, "ndcg@10 before": theirs}


def _measured(registry: Registry, version: str) -> float:
    found = registry.metrics_of(version).get(GATE_METRIC)
    if found is None:
        raise InputError(
            f"model version {version} has not been evaluated: run "
            f"`nightrank evaluate --model-version {version}` first"
        )
    return found
