"""The floor of the gate: a version must not be worse than the best baseline of its own report.

- The figures are those that `evaluate` logged: of past nights, the question that a night asks, or
  of `warm` where nobody came back on any of them.
- A figure that is missing, or is no number, is refused.

Trade-off: the best baseline is named after the fact, which favours it a little.
"""

import math
from collections.abc import Mapping

from models.errors import InputError

GATE_METRIC, WITHOUT_NIGHTS = "nights_ndcg@10", "warm_ndcg@10"


def refuse_below_baselines(metrics: Mapping[str, float], version: str, tolerance: float) -> None:
    """Raise InputError where even the upper end of the gain over the best baseline is a loss."""
    of_nights = GATE_METRIC in metrics or WITHOUT_NIGHTS not in metrics
    metric = GATE_METRIC if of_nights else WITHOUT_NIGHTS
    split = metric.partition("_")[0]
    ours, best, high = (
        _measured(metrics, version, name)
        for name in (metric, f"{split}_best_baseline_ndcg@10", f"{split}_gain_high")
    )
    if high < 0 and ours < best * (1.0 - tolerance):
        raise InputError(
            f"gate: version {version} has {metric} {ours:.4f}, the best baseline {best:.4f}; the "
            f"interval of the difference ends at {high:+.4f}, and setting `promote_tolerance` "
            f"allows a loss of {tolerance:.1%}"
        )


def _measured(metrics: Mapping[str, float], version: str, name: str) -> float:
    found = metrics.get(name)
    if found is None or not math.isfinite(found):
        problem = "has not been evaluated" if found is None else "was evaluated with no number"
        raise InputError(
            f"model version {version} {problem} ({name}): run "
            f"`nightrank evaluate --model-version {version}` first"
        )
    return found
