"""Factors in scoring: an item's never depend on its neighbours, a user's are the network's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_version
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.settings.model import Settings
from models.compression.onnx_export import OPSET, export_towers
from models.data.interactions import Catalogue, History
from models.network.towers import TwoTowers
from models.serving.bundle import USER_TOWER, Bundle
from models.serving.item_factors import item_factors
from models.serving.manifest import FileFacts
from models.serving.user_encoder import HistoryEncoder

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


ITEMS = np.array([1, 0, 4, 2])
MIXED = History(ITEMS, np.array([5.0, 2.0, 4.0, 1.0]), np.arange(4.0))


def towers() -> TwoTowers:
    return TwoTowers(toy_version.WIDTH, toy_version.start(5, np.random.default_rng(3))).eval()


def network(made: TwoTowers, items: list[int], likes: list[float]) -> np.ndarray:
    """Return what the network makes of items, newest first, and which of them were liked."""
    with torch.no_grad():
        found = made.user_factors(
            torch.zeros(1, toy_version.WIDTH),
            made.own_history,
            torch.tensor([items]),
            torch.arange(len(items)).float()[None],
            torch.tensor([likes]),
            torch.zeros(1),
        )
    return np.asarray(found)


def encoded(folder: Path, made: TwoTowers) -> np.ndarray:
    described = toy_version.manifest("toy", list("01234"))
    described = replace(described, files={USER_TOWER: FileFacts("", 0)})
    encoder = HistoryEncoder(Bundle(folder, described), made.own_history.numpy(), threads=1)
    return encoder.encode([MIXED], np.zeros((1, toy_version.WIDTH), np.float32), None)


def test_what_was_not_liked_counts_in_scoring_as_in_the_network(tmp_path: Path) -> None:
    made = towers()
    export_towers(made, toy_version.WIDTH, tmp_path)
    expected = network(made, [2, 4, 0, 1], [0.0, 1.0, 0.0, 1.0])
    np.testing.assert_allclose(encoded(tmp_path, made), expected, atol=1e-5)
    assert not np.allclose(expected, network(made, [4, 1], [1.0, 1.0]), atol=1e-3)


class TowerOfLikes(torch.nn.Module):
    """The user tower as 0.1.0 and 0.2.0 export it: it isn't told what was liked."""

    def __init__(self, made: TwoTowers) -> None:
        super().__init__()
        self.users = made.users

    def forward(
        self,
        profiles: torch.Tensor,
        factors: torch.Tensor,
        items: torch.Tensor,
        ages: torch.Tensor,
        idle_days: torch.Tensor,
    ) -> torch.Tensor:
        """Return user factors [b, d]; padding alone isn't liked."""
        liked = (items < factors.shape[0] - 1).float()
        found: torch.Tensor = self.users(profiles, factors, items, ages, liked, idle_days)
        return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_version_of_an_earlier_release_knows_likes_alone(tmp_path: Path) -> None:
    made = towers()
    rows = torch.zeros((2, 3), dtype=torch.int64)
    names = ["profiles", "history_factors", "items", "ages", "idle_days"]
    torch.onnx.export(
        TowerOfLikes(made),
        (torch.zeros(2, toy_version.WIDTH), torch.zeros(6, toy_version.HISTORY), rows,
         torch.zeros(2, 3), torch.zeros(2)),
        str(tmp_path / USER_TOWER),
        input_names=names,
        dynamic_axes={name: {0: name, 1: f"{name} wide"} for name in names[:4]}
        | {"idle_days": {0: "idle"}},
        opset_version=OPSET,
        dynamo=False,
    )  # fmt: skip
    expected = network(made, [4, 1], [1.0, 1.0])
    np.testing.assert_allclose(encoded(tmp_path, made), expected, atol=1e-5)
