"""Siblings of a model version: same data, same settings, another split or seed.

- A version may only answer the split that it was trained for. The report of all splits asks, for
  each split, the siblings that were trained for it, one for each seed.

Trade-off: siblings are found by reading every registered version's manifest, some milliseconds
each.
"""

import json
from typing import Any

from jobs.settings.model import Settings
from jobs.versions import registry
from models.serving.bundle import MANIFEST, Bundle, open_bundle

MAY_DIFFER = ("seed", "split")


def siblings(settings: Settings, bundle: Bundle, split: str) -> list[Bundle]:
    """Return the versions like `bundle` that may answer `split`, by seed; it may be among them."""
    alike = []
    for version in registry.versions(settings):
        path = registry.folder_of(settings, version) / MANIFEST
        manifest = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if answers(manifest, split) and _kind(manifest) == _kind(bundle.manifest):
            alike.append(open_bundle(path.parent))
    return sorted(
        alike, key=lambda one: (int(one.manifest["settings"].get("seed", 0)), one.version)
    )


def answers(manifest: dict[str, Any], split: str) -> bool:
    """Whether the version was trained for `split`; `cold_user_0` is `cold_user` asked earlier."""
    return split.removesuffix("_0") == str(manifest.get("split", "")).removesuffix("_0")


def _kind(manifest: dict[str, Any]) -> tuple[Any, ...]:
    chosen, shrunk = (
        {k: v for k, v in manifest.get(name, {}).items() if k not in MAY_DIFFER}
        for name in ("settings", "export_settings")
    )
    return chosen, manifest.get("tables"), shrunk
