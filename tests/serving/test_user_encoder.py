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
from models.factors.popularity import Popularity
from models.network.towers import TwoTowers
from models.serving.bundle import PROFILE_MAP, USER_TOWER, Bundle
from models.serving.history_encoder import HistoryEncoder, blocks_in, by_block
from models.serving.item_factors import item_factors
from models.serving.manifest import FileFacts
from models.serving.text_vectors import KeptVectors, TextVectors

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


@hypothesis_settings(max_examples=20)
@given(rows=st.lists(st.integers(0, COUNT - 1), min_size=1, unique=True), threads=st.integers(1, 2))
def test_an_item_never_depends_on_its_neighbours(
    bundle: Bundle, rows: list[int], threads: int
) -> None:
    random = np.random.default_rng(1)
    vectors = toy_version.normal(random, COUNT, toy_version.WIDTH)
    everything = item_factors(bundle, catalogue(list(range(COUNT))), vectors, 1)
    some = item_factors(bundle, catalogue(rows), vectors[rows], threads)
    for name, whole in vars(everything).items():
        assert np.array_equal(getattr(some, name), whole[rows])


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
    there = [path.name for path in folder.iterdir()]
    described = replace(described, files={name: FileFacts("", 0) for name in there})
    blocks = by_block(made.own_history.numpy(), described.blocks)
    encoder = HistoryEncoder(Bundle(folder, described), blocks, threads=1)
    return encoder.encode([MIXED], np.zeros((1, toy_version.WIDTH), np.float32), None)


def test_what_was_not_liked_counts_in_scoring_as_in_the_network(tmp_path: Path) -> None:
    made = towers()
    export_towers(made, toy_version.WIDTH, tmp_path)
    expected = network(made, [2, 4, 0, 1], [0.0, 1.0, 0.0, 1.0])
    np.testing.assert_allclose(encoded(tmp_path, made), expected, atol=1e-5)
    assert not np.allclose(expected, network(made, [4, 1], [1.0, 1.0]), atol=1e-3)


def histories(lengths: list[int], n_items: int) -> list[History]:
    random = np.random.default_rng(8)
    return [
        History(
            random.integers(0, n_items, length),
            random.integers(1, 6, length) * 1.0,
            np.sort(random.random(length)) * 10 * 86400.0,
        )
        for length in lengths
    ]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[HistoryEncoder, HistoryEncoder]:
    """Return what gathers, and what runs the graph that a version of an earlier release has."""
    folder, n_items = tmp_path_factory.mktemp("towers"), 30
    weighing = Popularity(visiting=(0.4, -0.3, 0.2, 0.1))
    begun = replace(toy_version.start(n_items, np.random.default_rng(3)), popularity=weighing)
    made = TwoTowers(toy_version.WIDTH, begun)
    export_towers(made, toy_version.WIDTH, folder)
    described = toy_version.manifest("toy", list(map(str, range(n_items))))
    described = replace(described, popularity=weighing)
    blocks = by_block(made.own_history.numpy(), described.blocks)
    files: dict[str, FileFacts] = {USER_TOWER: FileFacts("", 0)}
    graph = HistoryEncoder(Bundle(folder, replace(described, files=files)), blocks, 1)
    files = files | {PROFILE_MAP: FileFacts("", 0)}
    return HistoryEncoder(Bundle(folder, replace(described, files=files)), blocks, 1), graph


def test_a_gather_is_the_graph_of_the_network(
    encoders: tuple[HistoryEncoder, HistoryEncoder],
) -> None:
    gather, graph = encoders
    users = histories([0, 1, 2, 7, 49, 50, 51, 120], 30)
    profiles = toy_version.normal(np.random.default_rng(4), len(users), toy_version.WIDTH)
    for clock in (None, 11 * 86400.0):
        found, expected = (one.encode(users, profiles, clock) for one in (gather, graph))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)


def test_what_was_returned_counts_nothing_in_a_gather_either(
    encoders: tuple[HistoryEncoder, HistoryEncoder],
) -> None:
    gather, graph = encoders
    users = histories([1, 7, 60], 30)
    returned = [replace(one, value=np.where(one.value < 3, -5.0, one.value)) for one in users]
    profiles = np.zeros((len(users), toy_version.WIDTH), np.float32)
    found, expected = (one.encode(returned, profiles, None) for one in (gather, graph))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)
    assert not np.allclose(found, gather.encode(users, profiles, None), atol=1e-3)


@hypothesis_settings(max_examples=30)
@given(lengths=st.lists(st.integers(0, 70), min_size=1, max_size=40), data=st.data())
def test_a_user_never_depends_on_neighbours(
    encoders: tuple[HistoryEncoder, HistoryEncoder], lengths: list[int], data: st.DataObject
) -> None:
    gather, _ = encoders
    users = histories(lengths, 30)
    profiles = toy_version.normal(np.random.default_rng(4), len(users), toy_version.WIDTH)
    rows = data.draw(st.lists(st.integers(0, len(users) - 1), min_size=1, max_size=40))
    whole = gather.encode(users, profiles, 11 * 86400.0)
    some = gather.encode([users[row] for row in rows], profiles[rows], 11 * 86400.0)
    assert np.array_equal(some, whole[rows])


def test_blocks_come_back_from_the_file_of_a_night() -> None:
    described = toy_version.manifest("toy", ["0"])
    history = toy_version.normal(np.random.default_rng(5), 9, toy_version.HISTORY)
    parts = by_block(history, described.blocks)
    flat = np.concatenate([part.ravel() for part in parts])
    for part, found in zip(parts, blocks_in(flat, described.blocks), strict=True):
        assert np.array_equal(part, found)
        assert found.base is not None  # a view: mapped factors are not copied


def test_a_text_that_was_kept_has_the_same_vector(bundle: Bundle) -> None:
    texts = TextVectors(bundle.encoder, threads=1)
    kept = KeptVectors(texts)
    asked = ["drama", "comedy of the doctor", "drama", ""]
    for _ in range(2):
        assert np.array_equal(kept.encode(asked), texts.encode(asked))


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
