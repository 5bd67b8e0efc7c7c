"""models: list the versions, the newest first, with their aliases and metrics."""

from dataclasses import asdict
from typing import Any

from jobs.context import Context
from jobs.versions.registry import Registered


def run(context: Context) -> dict[str, Any]:
    """Return every version of the registry, with one line for each as `text`."""
    found = context.registry.registered()
    text = "\n".join(map(_line, found)) or "no versions yet: run `nightrank train`"
    return {"models": [asdict(one) for one in found], "text": text}


def _line(one: Registered) -> str:
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in sorted(one.metrics.items()))
    return f"{one.version}  {','.join(one.aliases) or '-':<20}  {metrics}"
