"""Texts are encoded once for each model version, and read with the bits that they had."""

from pathlib import Path

import numpy as np
import pytest
import toy_version

from jobs.nights.text_vectors import item_vectors, text_vectors
from jobs.settings.model import Settings
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import TEXT_VECTORS
from models.data.interactions import Catalogue
from models.data.texts import item_texts
from models.serving.text_vectors import TextVectors


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(warehouse=str(tmp_path / "warehouse"))


def test_only_new_texts_are_encoded_and_the_rest_keeps_its_bits(settings: Settings) -> None:
    bundle = toy_version.champion(settings, ["a", "b"])
    warehouse = Warehouse(settings.warehouse)
    texts = ["drama", "comedy of the doctor", "drama", ""]
    first, encoded = text_vectors(warehouse, bundle, texts, 1)
    assert encoded == 3
    assert np.array_equal(first, TextVectors(bundle.encoder, 1).encode(texts))
    again, encoded = text_vectors(warehouse, bundle, [*texts, "student 😀"], 1)
    assert encoded == 1
    assert np.array_equal(again[:4], first)
    assert text_vectors(warehouse, bundle, texts[::-1], 1)[1] == 0
    assert warehouse.read(TEXT_VECTORS).num_rows == 4


def test_texts_of_items_that_the_version_knows_are_not_encoded(settings: Settings) -> None:
    bundle = toy_version.champion(settings, ["a", "c"])
    warehouse = Warehouse(settings.warehouse)
    catalogue = Catalogue(
        item_ids=("a", "b", "c", "d"),
        titles=("drama", "comedy", "action", "doctor"),
        texts=("",) * 4,
        attributes=({},) * 4,
        available=np.ones(4, dtype=np.bool_),
    )
    vectors, encoded = item_vectors(warehouse, bundle, catalogue, 1)
    assert encoded == 2
    assert not vectors[[0, 2]].any()
    texts = item_texts(catalogue)
    expected = TextVectors(bundle.encoder, 1).encode([texts[1], texts[3]])
    assert np.array_equal(vectors[[1, 3]], expected)


def test_another_version_has_vectors_of_its_own(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    one, two = (toy_version.champion(settings, ["a"], seed) for seed in (0, 1))
    first, _ = text_vectors(warehouse, one, ["drama"], 1)
    second, encoded = text_vectors(warehouse, two, ["drama"], 1)
    assert encoded == 1
    assert not np.array_equal(first, second)
    assert np.array_equal(text_vectors(warehouse, one, ["drama"], 1)[0], first)


def test_no_texts(settings: Settings) -> None:
    bundle = toy_version.champion(settings, ["a"])
    vectors, encoded = text_vectors(Warehouse(settings.warehouse), bundle, [], 1)
    assert (vectors.shape, encoded) == ((0, toy_version.WIDTH), 0)
