"""An item's factors are the same bits whatever other items there are."""

import numpy as np
import pytest
import toy_version
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.settings.model import Settings
from models.data.interactions import Catalogue
from models.serving.bundle import Bundle
from models.serving.item_factors import item_factors

COUNT = 40


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("serving") / "warehouse"
    return toy_version.champion(Settings(warehouse=str(root)), ["0", "1"])


def catalogue(rows: list[int]) -> Catalogue:
    genres = ["Drama", "Comedy, Drama", ""]
    return Catalogue(
        item_ids=tuple(str(row) for row in rows),
        titles=("",) * len(rows),
        texts=("",) * len(rows),
        attributes=tuple({"genres": genres[row % 3]} for row in rows),
        available=np.ones(len(rows), dtype=np.bool_),
    )


@hypothesis_settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.integers(0, COUNT - 1), min_size=1, unique=True), threads=st.integers(1, 2))
def test_an_item_never_depends_on_its_neighbours(
    bundle: Bundle, rows: list[int], threads: int
) -> None:
    random = np.random.default_rng(1)
    vectors = toy_version.normal(random, COUNT, toy_version.WIDTH)
    everything = item_factors(bundle, catalogue(list(range(COUNT))), vectors, 1)
    some = item_factors(bundle, catalogue(rows), vectors[rows], threads)
    for whole, part in zip(everything, some, strict=True):
        assert np.array_equal(part, whole[rows])
