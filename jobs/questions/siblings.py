"""Siblings of a model version: same data, code and settings, another split or seed.

- A version may only answer the split that it was trained for. The report of all splits asks, for
  each split, the siblings that were trained for it, one for each seed.
- Of several exports of one trained version, made on different machines, one counts.

Trade-off: siblings are found by reading every registered version's manifest, some milliseconds
each.
"""

from jobs.versions.registry import Registry
from models.serving.bundle import MANIFEST, Bundle, open_bundle, read_manifest
from models.serving.manifest import Manifest

MAY_DIFFER = ("seed", "split")


def siblings(registry: Registry, bundle: Bundle, split: str) -> list[Bundle]:
    """Return the versions like `bundle` that may answer `split`, by seed; it may be among them."""
    alike = []
    for version in registry.versions():
        folder = registry.folder_of(version)
        if not (folder / MANIFEST).exists():
            continue
        manifest = read_manifest(folder)
        if answers(manifest, split) and _kind(manifest) == _kind(bundle.manifest):
            alike.append(open_bundle(folder))
    alike.sort(key=lambda one: (one.version != bundle.version, one.version))
    one_each = {one.manifest.trained_version or one.version: one for one in reversed(alike)}
    return sorted(one_each.values(), key=lambda one: (one.manifest.settings.seed, one.version))


def answers(manifest: Manifest, split: str) -> bool:
    """Whether the version was trained for `split`; `cold_user_0` is `cold_user` asked earlier."""
    return split.removesuffix("_0") == manifest.split.removesuffix("_0")


def _kind(manifest: Manifest) -> tuple[object, ...]:
    chosen, shrunk = (
        {name: value for name, value in values.items() if name not in MAY_DIFFER}
        for values in (manifest.settings.values, manifest.export_settings or {})
    )
    return chosen, manifest.tables, manifest.contents, manifest.code, shrunk, manifest.export_code
