"""models: list the versions, the newest first, with their dates, aliases and metrics."""

from dataclasses import asdict
from typing import Any

from jobs.context import Context
from jobs.reports.text_table import aligned
from jobs.versions.metric_names import metric_name
from jobs.versions.registry import Registered

# NDCG@10 of what the gate compares first, then of what else an operator asks about
SHOWN = {
    "nights": "nights_ndcg@10",
    "warm": "warm_ndcg@10",
    "cold_item": "cold_item_ndcg@10",
    "validation": "validation",
}


def run(context: Context) -> dict[str, Any]:
    """Return every version of the registry, with a table of them as `text`."""
    found = context.registry.registered()
    models = [{**asdict(one), "made": one.made.isoformat(timespec="seconds")} for one in found]
    return {"models": models, "text": _table(found) or "no versions yet: run `nightrank train`"}


def _table(found: list[Registered]) -> str:
    metrics = [{metric_name(name): one.metrics[name] for name in one.metrics} for one in found]
    there = {head: name for head, name in SHOWN.items() if any(name in one for one in metrics)}
    rows = [
        [
            one.version,
            f"{one.made:%Y-%m-%d %H:%M}",
            ", ".join(one.aliases) or "-",
            *(round(own[name], 4) if name in own else None for name in there.values()),
        ]
        for one, own in zip(found, metrics, strict=True)
    ]
    heads = [f"{head} NDCG@10" for head in there]
    return aligned(["version", "made (UTC)", "alias", *heads], rows) if rows else ""
