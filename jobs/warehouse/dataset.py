"""Reads the Delta tables into arrays: catalogue, interactions, users and their profiles.

- Items and users are in catalogue order. Users are those of `users` and of `interactions`.
- Interactions are ordered by time, equal times by `tie_order`, then by user row. The arrays don't
  depend on how the tables are split into files.
- Each table is read at a given version or the newest one; the versions read are returned.
- `contents` is a hash of what was read. A version's number says little by itself: tables that were
  deleted and made anew count from zero again.

Trade-off: everything is held in the memory of one process (about 30 bytes per interaction), because
training and the baselines need arrays. Scoring reads interactions through Spark instead.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, USERS
from models.data.arrays import Rows
from models.data.interactions import Catalogue, Interactions, catalogue_order, tie_order
from models.errors import InputError
from models.serving.manifest import Manifest


@dataclass(frozen=True)
class Dataset:
    """What models are fitted on; parallel tuples for users."""

    catalogue: Catalogue
    interactions: Interactions
    user_ids: tuple[str, ...]
    profiles: tuple[str, ...]
    user_attributes: tuple[dict[str, str], ...]
    versions: dict[str, int]

    @cached_property
    def contents(self) -> str:
        """A hash of all that models are fitted on, whatever the tables' versions are."""
        digest = hashlib.sha256()
        items, events = self.catalogue, self.interactions
        for words in (items.item_ids, items.titles, items.texts, self.user_ids, self.profiles):
            digest.update(json.dumps(words).encode())
        for attributes in (items.attributes, self.user_attributes):
            digest.update(json.dumps(attributes, sort_keys=True).encode())
        for numbers in (items.available, events.user, events.item, events.value, events.time):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()[:16]


def read_dataset(warehouse: Warehouse, versions: Mapping[str, int] | None = None) -> Dataset:
    """Return the data at `versions` (table name -> version; the newest where a name is absent).

    A user without a row in `users` has an empty profile. Raises InputError when `interactions` or
    `items` is absent or empty, or when an interaction's item is not among the items.
    """
    pinned = _pin(warehouse, versions or {})
    items = _sorted_items(warehouse, pinned[ITEMS])
    catalogue = _catalogue(items)
    item_ids = list(catalogue.item_ids)
    columns = ["user_id", "item_id", "value", "ts"]
    events = warehouse.read(INTERACTIONS, pinned[INTERACTIONS], columns)
    known = _known_users(warehouse, pinned)
    everyone = list(known.keys() | set(_strings(events, "user_id", distinct=True)))
    user_ids = [everyone[row] for row in catalogue_order(everyone)]
    nobody: tuple[str, dict[str, str]] = ("", {})
    return Dataset(
        catalogue=catalogue,
        interactions=_interactions(events, user_ids, item_ids, pinned),
        user_ids=tuple(user_ids),
        profiles=tuple(known.get(user, nobody)[0] for user in user_ids),
        user_attributes=tuple(known.get(user, nobody)[1] for user in user_ids),
        versions=pinned,
    )


def read_training_data(warehouse: Warehouse, manifest: Manifest) -> Dataset:
    """Return the data that the version of `manifest` was trained on.

    Raises InputError where the tables have been deleted and made anew since then.
    """
    dataset = read_dataset(warehouse, manifest.tables)
    if manifest.contents is not None and manifest.contents != dataset.contents:
        raise InputError(
            f"model version {manifest.version} was trained on other tables than those under "
            f"{warehouse.root}, which were made anew since: run `nightrank train`"
        )
    return dataset


def read_catalogue(warehouse: Warehouse, version: int, without: Collection[str] = ()) -> Catalogue:
    """Return the items alone, as they stand at `version`, but those `without`.

    Raises InputError when there are none.
    """
    items = _sorted_items(warehouse, version)
    return _catalogue(items.filter(pc.invert(_among(items, without))) if without else items)


def read_items(warehouse: Warehouse, version: int, item_ids: Collection[str]) -> Catalogue:
    """Return those of the items `item_ids` that are there at `version`, maybe none."""
    items = warehouse.read(ITEMS, version)
    return _catalogue(items.filter(_among(items, item_ids)))


def _among(items: pa.Table, item_ids: Collection[str]) -> Any:
    return pc.is_in(items["item_id"], value_set=pa.array(list(item_ids), pa.string()))


def _pin(warehouse: Warehouse, versions: Mapping[str, int]) -> dict[str, int]:
    # interactions before items: a newer interaction than the items read would lack its item
    names = [INTERACTIONS, ITEMS]
    if USERS in versions or warehouse.exists(USERS):
        names.append(USERS)
    return {name: versions[name] if name in versions else warehouse.version(name) for name in names}


def _catalogue(items: pa.Table) -> Catalogue:
    return Catalogue(
        item_ids=tuple(_strings(items, "item_id")),
        titles=tuple(_strings(items, "title")),
        texts=tuple(_strings(items, "text")),
        attributes=tuple(_attributes(items)),
        available=np.asarray(items["available"].to_pylist(), dtype=np.bool_),
    )


def _sorted_items(warehouse: Warehouse, version: int) -> pa.Table:
    items = warehouse.read(ITEMS, version)
    if not items.num_rows:
        raise InputError(
            f"table `{ITEMS}` under {warehouse.root} is empty: run `nightrank ingest SOURCE` first"
        )
    return items.take(pa.array(catalogue_order(_strings(items, "item_id")), pa.int64()))


def _known_users(
    warehouse: Warehouse, pinned: dict[str, int]
) -> dict[str, tuple[str, dict[str, str]]]:
    """Return profile text and attributes by user_id."""
    if USERS not in pinned:
        return {}
    users = warehouse.read(USERS, pinned[USERS])
    facts = zip(_strings(users, "text"), _attributes(users), strict=True)
    return dict(zip(_strings(users, "user_id"), facts, strict=True))


def _interactions(
    events: pa.Table, user_ids: list[str], item_ids: list[str], pinned: dict[str, int]
) -> Interactions:
    item = _positions(events, "item_id", item_ids)
    if (item < 0).any():
        missing = events["item_id"][int(np.argmin(item))].as_py()
        raise InputError(
            f"`{INTERACTIONS}` version {pinned[INTERACTIONS]} has item {missing!r}, which "
            f"`{ITEMS}` version {pinned[ITEMS]} lacks: read a newer version of `{ITEMS}`"
        )
    user = _positions(events, "user_id", user_ids)
    micros = events["ts"].cast(pa.int64()).to_numpy()
    order = np.lexsort((user, tie_order(item_ids)[item], micros))
    return Interactions(
        user=user[order],
        item=item[order],
        value=events["value"].to_numpy()[order],
        time=micros[order] / 1e6,
        n_users=len(user_ids),
        n_items=len(item_ids),
    )


def _positions(table: pa.Table, column: str, ids: list[str]) -> Rows:
    """Return the position in `ids` of each row's id, -1 where it is absent."""
    found = pc.index_in(table[column].combine_chunks(), value_set=pa.array(ids, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(), dtype=np.int64)


def _strings(table: pa.Table, column: str, distinct: bool = False) -> list[str]:
    values = table[column].unique() if distinct else table[column]
    return [str(value) for value in values.to_pylist()]


def _attributes(table: pa.Table) -> list[dict[str, str]]:
    return [
        {key: value for key, value in pairs or [] if value is not None}
        for pairs in table["attributes"].to_pylist()
    ]
