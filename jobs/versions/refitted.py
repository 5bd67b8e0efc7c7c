"""The version that serves: a judged version, fitted again to everything in the tables.

- It is a version of its own, named by what it is fitted to, so that the same tables give the same
  version, and the judged one stays as it was judged.
- The text encoder and whatever else a refit leaves alone are hard links to the judged version's.

Trade-off: its `model.json` carries the judged version's metrics, which are those of the recipe and
not of these factors.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from jobs.versions.code import code_hash, identity_hash
from jobs.versions.registry import Registry
from jobs.versions.workplace import only_maker, partial_folder, put_in_place, whole_version
from jobs.warehouse.dataset import Dataset
from jobs.warehouse.delta import Warehouse
from models.serving.bundle import (
    ATTRIBUTE_FACTORS,
    ATTRIBUTES,
    HISTORY_FACTORS,
    INTEREST,
    ITEM_FACTORS,
    ITEM_TOWER,
    MANIFEST,
    PROFILE_MAP,
    USER_TOWER,
    Bundle,
    open_bundle,
    refuse_incomplete,
    write_manifest,
)
from models.serving.manifest import EVERYTHING
from models.serving.text_vectors import Encode
from models.training.refit import Refit, write_refit
from models.training.weights import TOWER_WEIGHTS

_FITTED_ANEW = (
    *(ITEM_FACTORS, HISTORY_FACTORS, ITEM_TOWER, USER_TOWER, PROFILE_MAP),
    *(ATTRIBUTES, ATTRIBUTE_FACTORS, INTEREST, TOWER_WEIGHTS, MANIFEST),
)


def refitted(
    warehouse: Warehouse, registry: Registry, judged: Bundle, dataset: Dataset, encode: Encode
) -> Bundle:
    """Return the refit of a `judged` version on all of `dataset`, registered, made where it isn't.

    `encode` gives the vectors of texts by the judged version's encoder, which the refit keeps.
    Raises InputError where the version doesn't say what it was fitted with.
    """
    version = _name(judged, dataset)
    folder = registry.folder_of(version)
    with only_maker(warehouse, version):
        found = whole_version(registry, folder) or _make(judged, dataset, version, folder, encode)
        registry.register(found, candidate=False)
        registry.log_metrics(version, registry.metrics_of(judged.version))
    return found


def _name(judged: Bundle, dataset: Dataset) -> str:
    identity = {
        "judged": judged.version,
        "tables": dataset.versions,
        "contents": dataset.contents,
        "code": code_hash(),
    }
    return f"{judged.manifest.trained_version}-all-{identity_hash(identity)[:12]}"


def _make(judged: Bundle, dataset: Dataset, version: str, folder: Path, encode: Encode) -> Bundle:
    partial = partial_folder(folder.parent, version)
    try:
        shutil.copytree(judged.folder, partial, copy_function=os.link)
        for name in _FITTED_ANEW:
            (partial / name).unlink(missing_ok=True)
        events = dataset.interactions
        fitted = write_refit(judged, dataset.catalogue, events, dataset.profiles, encode, partial)
        refuse_incomplete(_described(judged, dataset, version, fitted, partial))
        put_in_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_bundle(folder)


def _described(
    judged: Bundle, dataset: Dataset, version: str, fitted: Refit, partial: Path
) -> Bundle:
    item_ids = np.array(dataset.catalogue.item_ids, dtype=object)
    manifest = replace(
        judged.manifest,
        version=version,
        split=EVERYTHING,
        judged_version=judged.version,
        blocks=fitted.blocks,
        tables=dataset.versions,
        contents=dataset.contents,
        trained_until=float(dataset.interactions.time.max()),
        item_ids=item_ids[fitted.known].tolist(),
        rated_item_ids=item_ids[fitted.rated].tolist(),
    )
    return write_manifest(partial, manifest)
