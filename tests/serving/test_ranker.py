"""The ranker against a brute force in float64, over shapes, k, ties, blocks and exclusions."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.data.arrays import Factors, Rows
from models.errors import InputError
from models.serving.graph_search import GraphSearch
from models.serving.ranker import NO_ITEM, Ranker, longest
from models.serving.ranker_graph import build_ranker
from models.serving.runtime import open_session
from models.serving.shortlist import Shortlist, _user_levels


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranker") / "ranker.onnx"
    build_ranker(path)
    return path


def ranker(
    graph: Path, items: Factors, block: int = 1000, threads: int = 1, batch: int = 2
) -> Ranker:
    return Ranker(graph, items, np.ones(len(items), dtype=bool), batch, block, threads)


def rows_of(*items: int) -> Rows:
    return np.array(items, dtype=np.int64)


def brute_force(
    users: Factors, items: Factors, rankable: NDArray[np.bool_], excluded: list[Rows], k: int
) -> tuple[NDArray[np.float64], Rows]:
    """Sort every pair's float64 score, row by row; the oracle shares no code with the ranker."""
    scores = np.full((len(users), k), -np.inf)
    rows = np.full((len(users), k), NO_ITEM, dtype=np.int64)
    for u, user in enumerate(users.astype(np.float64)):
        banned = {int(row) for row in excluded[u]}
        allowed = [i for i in range(len(items)) if rankable[i] and i not in banned]
        order = sorted(allowed, key=lambda i: (-float(user @ items[i].astype(np.float64)), i))[:k]
        rows[u, : len(order)] = order
        scores[u, : len(order)] = [user @ items[i].astype(np.float64) for i in order]
    return scores, rows


def test_the_answer_is_visible_by_eye(graph: Path) -> None:
    items = np.array([[1, 0], [0, 1], [2, 0], [0, 3]], dtype=np.float32)
    users = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
    scores, rows = ranker(graph, items).top_k(users, [rows_of(), rows_of(3), rows_of()], 2)
    assert rows.tolist() == [[2, 0], [1, 0], [3, 2]]
    assert scores.tolist() == [[2, 1], [1, 0], [3, 2]]


def test_the_ranker_counts_what_it_had_to_score_in_32_bits(graph: Path) -> None:
    random = np.random.default_rng(0)
    items = random.standard_normal((3000, 8)).astype(np.float32)
    users = random.standard_normal((4, 8)).astype(np.float32)
    ours = ranker(graph, items)
    ours.top_k(users, [rows_of()] * 4, 5)
    once = ours.examined
    assert 4 * 5 <= once < 4 * 300
    ours.top_k(users, [rows_of()] * 4, 5)
    assert ours.examined == 2 * once


def test_equal_scores_stand_in_the_order_of_the_rows_across_blocks(graph: Path) -> None:
    items = np.ones((7, 3), dtype=np.float32)
    users = np.ones((2, 3), dtype=np.float32)
    for block in (1, 2, 3, 7):
        _, rows = ranker(graph, items, block).top_k(users, [rows_of(), rows_of(0, 2)], 4)
        assert rows.tolist() == [[0, 1, 2, 3], [1, 3, 4, 5]]


def test_a_user_who_has_seen_all_gets_nothing(graph: Path) -> None:
    items = np.ones((3, 2), dtype=np.float32)
    scores, rows = ranker(graph, items, 2).top_k(items[:1], [rows_of(0, 1, 2, 1)], 2)
    assert rows.tolist() == [[NO_ITEM, NO_ITEM]]
    assert np.isneginf(scores).all()


def test_k_beyond_the_catalogue_is_filled_with_no_item(graph: Path) -> None:
    items = np.array([[1.0], [2.0]], dtype=np.float32)
    _, rows = ranker(graph, items, 1).top_k(items[:1], [rows_of()], 4)
    assert rows.tolist() == [[1, 0, NO_ITEM, NO_ITEM]]


def test_no_users_and_no_items(graph: Path) -> None:
    items = np.ones((3, 2), dtype=np.float32)
    assert ranker(graph, items).top_k(items[:0], [], 2)[1].shape == (0, 2)
    empty = ranker(graph, items[:0]).top_k(items[:1], [rows_of()], 2)
    assert empty[1].tolist() == [[NO_ITEM, NO_ITEM]]


@settings(max_examples=150)
@given(data=st.data())
def test_small_whole_numbers_equal_brute_force_exactly(graph: Path, data: st.DataObject) -> None:
    """Whole numbers have exact products and many ties, so rows and scores must be identical."""
    users, items = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 30))
    dim, k = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 35))
    batch, block = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 31))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    user_factors = random.integers(-2, 3, (users, dim)).astype(np.float32)
    item_factors = random.integers(-2, 3, (items, dim)).astype(np.float32)
    rankable = random.random(items) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    excluded = [random.integers(0, items, random.integers(0, items + 3)) for _ in range(users)]
    oracle = brute_force(user_factors, item_factors, rankable, excluded, k)
    subject = Ranker(graph, item_factors, rankable, batch, block, threads=1)
    scores, rows = subject.top_k(user_factors, excluded, k)
    assert np.array_equal(rows, oracle[1])
    assert np.array_equal(scores, oracle[0])
    width = min(k, items)
    search = GraphSearch(open_session(graph, 1), item_factors, rankable, users, block)
    best, where = search.top(user_factors, excluded, width)
    assert np.array_equal(np.where(np.isneginf(best), NO_ITEM, where), oracle[1][:, :width])
    assert np.array_equal(best, oracle[0][:, :width])


@pytest.mark.parametrize("dim", [33, 128, 385])
def test_real_numbers_equal_brute_force_up_to_rounding(graph: Path, dim: int) -> None:
    random = np.random.default_rng(dim)
    users = random.standard_normal((20, dim)).astype(np.float32)
    items = random.standard_normal((700, dim)).astype(np.float32)
    excluded = [random.choice(700, 100, replace=False) for _ in users]
    everything = np.ones(700, dtype=bool)
    exact, _ = brute_force(users, items, everything, excluded, 25)
    scores, rows = ranker(graph, items, 256).top_k(users, excluded, 25)
    again = np.take_along_axis(users.astype(np.float64) @ items.T.astype(np.float64), rows, axis=1)
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(again, exact, rtol=1e-6, atol=1e-4)
    assert all(not set(row) & set(seen) for row, seen in zip(rows, excluded, strict=True))


@settings(max_examples=60)
@given(data=st.data())
def test_nobody_who_belongs_is_missing_on_a_shortlist(data: st.DataObject) -> None:
    """Axes of unlike widths, near ties and a floor: all that can reach the k-th score is listed."""
    users, items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 60))
    dim, k = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 20))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    width = 10 ** random.uniform(*data.draw(st.sampled_from([(0, 0), (-4, 4), (-15, 12)])), dim)
    spread = data.draw(st.sampled_from([1.0, 1e-3, 1e-7]))  # how far items lie apart
    centre = random.standard_normal(dim)
    item_factors = (centre + spread * random.standard_normal((items, dim))) * width
    user_factors = random.standard_normal((users, dim)) / width * random.choice([0, 1], (users, 1))
    item_factors, user_factors = np.float32(item_factors), np.float32(user_factors)
    scores = np.stack([np.vecdot(item_factors, user) for user in user_factors])
    excluded = [random.integers(0, items, random.integers(0, items + 3)) for _ in range(users)]
    for user, rows in enumerate(excluded):
        scores[user, rows] = -np.inf
    subject = Shortlist(item_factors, np.ones(items, dtype=bool), data.draw(st.integers(1, 61)))
    subject.calibrate(user_factors[: data.draw(st.integers(1, users))])
    lists, ceiling = subject.of(user_factors, excluded, k)
    floor = np.sort(scores, axis=1)[:, -min(k, items)].astype(np.float64)
    again, _ = subject.of(user_factors, excluded, k, floor)
    for user, row in enumerate(scores):
        assert set(np.flatnonzero((row >= ceiling[user]) & (row > -np.inf))) <= set(lists[user])
        assert set(np.flatnonzero((row >= floor[user]) & (row > -np.inf))) <= set(again[user])
        assert not set(excluded[user]) & (set(lists[user]) | set(again[user]))


def test_lists_are_short_and_the_result_never_depends_on_how_they_were_made(graph: Path) -> None:
    random = np.random.default_rng(0)
    users = random.standard_normal((90, 64)).astype(np.float32)
    items = (random.standard_normal((6000, 64)) * np.geomspace(0.01, 10, 64)).astype(np.float32)
    users, nothing = users / np.geomspace(0.01, 10, 64).astype(np.float32), [rows_of()] * 90
    subject = Shortlist(items, np.ones(6000, dtype=bool), 6000)
    subject.calibrate(users[:32])
    # a CPU without VNNI codes users in half as many levels, and lists grow by as much
    limit = 300 * 127 / _user_levels()
    assert np.mean([len(rows) for rows in subject.of(users, nothing, 20)[0]]) < limit
    expected = ranker(graph, items, 6000, batch=90).top_k(users, nothing, 20)
    for block, threads, batch in ((700, 1, 90), (6000, 3, 7), (4096, 1, 1)):
        found = ranker(graph, items, block, threads, batch).top_k(users[::-1], nothing, 20)
        assert np.array_equal(found[0][::-1], expected[0])
        assert np.array_equal(found[1][::-1], expected[1])


@pytest.mark.parametrize(("threads", "batch"), [(1, 64), (2, 64), (2, 1), (2, 5)])
def test_a_row_has_the_same_bits_beside_all_users(graph: Path, threads: int, batch: int) -> None:
    random = np.random.default_rng(0)
    users = random.standard_normal((70, 130)).astype(np.float32)
    items = random.standard_normal((500, 130)).astype(np.float32)
    subject = ranker(graph, items, 192, threads, batch)
    nothing = [rows_of()] * len(users)
    whole = subject.top_k(users, nothing, 20)
    for size in (1, 2, 3, 7, 64):
        for start in range(0, len(users), size):
            some = slice(start, start + size)
            part = subject.top_k(users[some], nothing[some], 20)
            assert np.array_equal(part[0], whole[0][some])
            assert np.array_equal(part[1], whole[1][some])


def test_a_memory_map_is_read_in_place(graph: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "items.npy", np.eye(5, dtype=np.float32))
    items = np.load(tmp_path / "items.npy", mmap_mode="r")
    _, rows = ranker(graph, items, 2).top_k(np.asarray(items[3:4]), [rows_of()], 1)
    assert rows.tolist() == [[3]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_refused_by_name(graph: Path, bad: float) -> None:
    items = np.ones((3, 2), dtype=np.float32)
    broken = items.copy()
    broken[2, 1] = bad
    with pytest.raises(InputError, match="item_factors, row 2"):
        ranker(graph, broken)
    with pytest.raises(InputError, match="user_factors, row 2"):
        ranker(graph, items).top_k(broken, [rows_of()] * 3, 1)
    with pytest.raises(InputError, match="row 2, id 'Zoë'"):
        longest("item_factors", broken, ["a", "b", "Zoë"])


def test_products_that_would_overflow_are_refused(graph: Path) -> None:
    items = np.full((1, 2), 1e25, dtype=np.float32)
    with pytest.raises(InputError, match="overflows"):
        ranker(graph, items).top_k(items, [rows_of()], 1)


def test_misuse_is_told(graph: Path) -> None:
    items = np.ones((3, 2), dtype=np.float32)
    subject = ranker(graph, items)
    with pytest.raises(ValueError, match="rankable"):
        Ranker(graph, items, np.ones(2, dtype=bool), 1, 1, 1)
    with pytest.raises(ValueError, match="block_items"):
        ranker(graph, items, 0)
    with pytest.raises(ValueError, match="user_factors"):
        subject.top_k(items[:, :1], [rows_of()] * 3, 1)
    with pytest.raises(ValueError, match="excluded"):
        subject.top_k(items, [], 1)
    with pytest.raises(ValueError, match="k:"):
        subject.top_k(items, [rows_of()] * 3, 0)


def test_the_graph_has_the_same_bytes_every_time(graph: Path, tmp_path: Path) -> None:
    build_ranker(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == graph.read_bytes()
