"""Versions that are fitted to the tables in a second, as `train` would but for the language model.

Users like two of six kinds of items and come back week after week, so that what is learned from
one week's tables is right in the next.
"""

import datetime as dt
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import toy_version
from staging import add

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.versions.registry import CHAMPION
from jobs.warehouse.dataset import Dataset, read_dataset
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS
from models.data.splits import make_split
from models.factors.blocks import Block
from models.factors.start import BLOCKS, Algorithms
from models.serving.bundle import ENCODER, ITEM_FACTORS, Bundle, write_manifest
from models.serving.manifest import Manifest, TrainedWith
from models.serving.text_vectors import TextEncoders
from models.training.refit import write_refit

KINDS, ITEMS_OF_A_KIND, USERS, FACTORS = 6, 20, 300, 64
SHARES = 1.0 / np.arange(1, ITEMS_OF_A_KIND + 1)
SHARES /= SHARES.sum()
START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
FLOOR = {"nights_ndcg@10": 0.2, "nights_best_baseline_ndcg@10": 0.1, "nights_gain_high": 0.2}


def add_week(warehouse: Warehouse, week: int, likes: int = 3) -> None:
    """Append what happens in a week: a third of the users come, like some items, and one not."""
    random = np.random.default_rng(week)
    rows = []
    for user in range(week % 3, USERS, 3):
        kinds = user % KINDS, (user // KINDS) % KINDS
        for number in range(likes + 1):
            liked = number < likes
            kind = kinds[number % 2] if liked else random.integers(KINDS)
            item = int(kind) * ITEMS_OF_A_KIND + int(random.choice(ITEMS_OF_A_KIND, p=SHARES))
            when = START + dt.timedelta(weeks=week, minutes=int(random.integers(9000)))
            rows.append((f"u{user}", f"i{item}", 5.0 if liked else 2.0, when, "1"))
    _add_interactions(warehouse, rows)


def add_likes(warehouse: Warehouse, users: list[str], item: str, week: int) -> None:
    """Append that these users like an item, at the end of a week."""
    when = START + dt.timedelta(weeks=week, days=6, hours=12)
    _add_interactions(warehouse, [(user, item, 5.0, when, "1") for user in users])


def _add_interactions(
    warehouse: Warehouse, rows: list[tuple[str, str, float, dt.datetime, str]]
) -> None:
    names = ("user_id", "item_id", "value", "ts", "ingest_id")
    add(warehouse, INTERACTIONS, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def add_items(warehouse: Warehouse, items: Iterable[int] = range(KINDS * ITEMS_OF_A_KIND)) -> None:
    """Write items, whose texts say nothing."""
    ids = [f"i{item}" for item in items]
    same = {"title": ids, "text": ["of"] * len(ids), "available": [True] * len(ids)}
    nothing = {"attributes": [[]] * len(ids), "features": [None] * len(ids)}
    add(warehouse, ITEMS, {"item_id": ids, **same, **nothing})


def judged(settings: Settings, version: str, split: str = "warm") -> Bundle:
    """Register a version that learned the training part of a split of today's tables."""
    registry = Context.of(settings).registry
    dataset = read_dataset(Warehouse(settings.warehouse))
    base = registry.folder_of("toy-0")
    if not base.exists():
        toy_version.champion(settings, ["i0"])
        registry._client.delete_registered_model_alias("nightrank", CHAMPION)
    folder = registry.folder_of(version)
    shutil.copytree(base, folder)
    toy, manifest = registry.candidate("toy-0"), _manifest(version, dataset)
    given = replace(toy, manifest=replace(manifest, files=toy.manifest.files))
    learned = make_split(split, dataset.interactions, 4.0).final.labelled_train
    encode = TextEncoders().of(given)
    fitted = write_refit(given, dataset.catalogue, learned, dataset.profiles, encode, folder)
    ids = np.array(dataset.catalogue.item_ids, dtype=object)
    known = {"item_ids": ids[fitted.known].tolist(), "rated_item_ids": ids[fitted.rated].tolist()}
    described = replace(manifest, split=split, blocks=fitted.blocks, **known)
    return _registered(settings, write_manifest(folder, described))


def damaged(settings: Settings, bundle: Bundle, noise: float) -> Bundle:
    """Register a copy whose factors have `noise`, in their standard deviations."""
    name = f"damaged-{bundle.version}"
    folder = _copied(settings, bundle, name)
    factors = np.load(folder / ITEM_FACTORS)
    random = toy_version.normal(np.random.default_rng(1), *factors.shape)
    np.save(folder / ITEM_FACTORS, factors + noise * factors.std(axis=0) * random)
    return _registered(settings, write_manifest(folder, replace(bundle.manifest, version=name)))


def with_own_encoder(settings: Settings, bundle: Bundle) -> Bundle:
    """Register a copy whose encoder is another file, with the same vectors."""
    name = f"own-encoder-{bundle.version}"
    folder = _copied(settings, bundle, name)
    encoder = onnx.load(folder / ENCODER)
    encoder.doc_string = name
    onnx.save(encoder, folder / ENCODER)
    return _registered(settings, write_manifest(folder, replace(bundle.manifest, version=name)))


def _copied(settings: Settings, bundle: Bundle, name: str) -> Path:
    folder = Context.of(settings).registry.folder_of(name)
    shutil.copytree(bundle.folder, folder)
    return folder


def _registered(settings: Settings, bundle: Bundle) -> Bundle:
    registry = Context.of(settings).registry
    registry.register(bundle)
    registry.log_metrics(bundle.version, FLOOR)
    return bundle


def _manifest(version: str, dataset: Dataset) -> Manifest:
    return replace(
        toy_version.manifest(version, []),
        settings=TrainedWith({"positive_threshold": 4.0, "factors": FACTORS}),
        tables=dataset.versions,
        contents=dataset.contents,
        blocks=tuple(Block(name=one.name, size=1, **vars(one.weights)) for one in BLOCKS),
        fitted_with=Algorithms().fitted_with,
        trained_version=f"trained-{version}",
        trained_until=float(dataset.interactions.time.max()),
    )
