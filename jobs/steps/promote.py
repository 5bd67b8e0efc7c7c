"""promote: make a version the champion, if it ranks no worse than today's, or than the baselines.

- The gate compares NDCG@10 on past nights, the question that a night asks, as `evaluate` measured
  it for both. Where nobody came back on any of those nights, it compares them on `warm`.
- A version is refused that is worse than the best baseline beyond the interval of the difference,
  also where it would be the first champion.
- A figure that is no number is refused.
- The lock of the champion is held from the comparison to the new alias, so that of two versions
  that are promoted at once the second is compared with the first.

Trade-off: each version was measured on the tables that it was trained on, so an old champion was
asked about other nights than the candidate.
"""

import math
from typing import Any

from jobs.context import Context
from jobs.versions.registry import CHAMPION, Registry
from models.errors import InputError

GATE_METRIC, WITHOUT_NIGHTS = "nights_ndcg@10", "warm_ndcg@10"


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
        metric = _metric(registry, bundle.version)
        ours = _measured(registry, bundle.version, metric)
        _refuse_below_baselines(registry, bundle.version, metric, ours, tolerance)
        with context.warehouse.lock(CHAMPION):
            before = registry.version_of(CHAMPION)
            theirs = None if before is None else _measured(registry, before, metric)
            if theirs is not None and ours < theirs * (1.0 - tolerance):
                raise InputError(
                    f"gate: version {bundle.version} has {metric} {ours:.4f}, the champion "
                    f"{before} {theirs:.4f}, and setting `promote_tolerance` allows a loss of "
                    f"{tolerance:.1%}; the champion stays"
                )
            registry.set_alias(CHAMPION, bundle.version)
    return {
        "champion": bundle.version,
        "before": before,
        "metric": metric,
        "ndcg@10": ours,
        "ndcg@10 before": theirs,
    }


def _metric(registry: Registry, version: str) -> str:
    """Return what the gate compares: `warm` only where the candidate's data has no nights."""
    found = registry.metrics_of(version)
    return WITHOUT_NIGHTS if GATE_METRIC not in found and WITHOUT_NIGHTS in found else GATE_METRIC


def _refuse_below_baselines(
    registry: Registry, version: str, metric: str, ours: float, tolerance: float
) -> None:
    """Raise InputError where even the upper end of the gain over the best baseline is a loss."""
    split = metric.partition("_")[0]
    best = _measured(registry, version, f"{split}_best_baseline_ndcg@10")
    high = _measured(registry, version, f"{split}_gain_high")
    if high < 0 and ours < best * (1.0 - tolerance):
        raise InputError(
            f"gate: version {version} has {metric} {ours:.4f}, the best baseline {best:.4f}; the "
            f"interval of the difference ends at {high:+.4f}, and setting `promote_tolerance` "
            f"allows a loss of {tolerance:.1%}"
        )


def _measured(registry: Registry, version: str, metric: str) -> float:
    found = registry.metrics_of(version).get(metric)
    if found is None or not math.isfinite(found):
        problem = "has not been evaluated" if found is None else "was evaluated with no number"
        raise InputError(
            f"model version {version} {problem} ({metric}): run "
            f"`nightrank evaluate --model-version {version}` first"
        )
    return found
