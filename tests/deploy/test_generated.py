"""Made-up data: as much as was asked for, the same for the same seed, and with something in it."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.bench import generated
from jobs.bench.generated import World, write_world


def test_a_world_has_the_size_that_was_asked_for(tmp_path: Path) -> None:
    written = write_world(World(400, 300, 8000), tmp_path)
    table = pq.read_table(tmp_path / "interactions")
    assert table.num_rows == written
    assert 7000 < written < 8400
    pairs = table.select(["user_id", "item_id"]).to_pandas()
    assert not pairs.duplicated().any()
    assert pairs["user_id"].nunique() == 400
    items = pq.read_table(tmp_path / "items.parquet").to_pandas()
    assert set(pairs["item_id"]) <= set(items["item_id"])
    assert len(items) == 300


def test_the_same_seed_gives_the_same_rows_and_another_one_others() -> None:
    first, again, other = (next(World(50, 40, 500, seed).parts()).to_pydict() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_parts_follow_each_other_without_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = World(60, 50, 2000)
    monkeypatch.setattr(generated, "EVENTS_PER_PART", 300)
    users = [set(part["user_id"].to_pylist()) for part in whole.parts()]
    assert len(users) > 3
    assert sum(map(len, users)) == len(set().union(*users)) == 60


def test_users_like_what_is_of_their_clusters_and_its_texts_share_words(tmp_path: Path) -> None:
    world = World(300, 1000, 12_000)
    write_world(world, tmp_path)
    table = pq.read_table(tmp_path / "interactions").to_pandas()
    table["cluster"] = world.cluster[table["item_id"].str[1:].astype(int)]
    favourite = table.groupby("user_id")["cluster"].agg(lambda one: one.value_counts().iloc[0])
    assert favourite.sum() / len(table) > 1.5 / (world.cluster.max() + 1)
    texts = [
        set(text.split()) for text in pq.read_table(tmp_path / "items.parquet")["text"].to_pylist()
    ]
    same = world.cluster[:-1] == world.cluster[1:]
    shared = np.array([len(a & b) for a, b in itertools.pairwise(texts)])
    assert shared[same].mean() > shared[~same].mean() + 1


def test_a_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(SystemExit) as ended:
        generated.main([str(tmp_path), "--users", "1", "--items", "1", "--interactions", "1"])
    assert ended.value.code == 2
    assert "isn't empty" in capsys.readouterr().err
