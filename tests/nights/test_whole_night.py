"""A whole night on all of MovieLens-100K: every user, exactly k rows, none of them seen."""

from pathlib import Path

import pytest
import toy_version
from pyspark.sql import SparkSession
from test_score import CLOCK, NIGHT, assert_equal_lists, by_brute_force, staged

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import ingest, publish, score
from jobs.warehouse.dataset import read_catalogue
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import ITEMS, RECOMMENDATIONS

K = 10


@pytest.mark.timeout(900)
def test_everybody_gets_k_unseen_items_as_brute_force_finds_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    settings = Settings(warehouse=str(tmp_path / "warehouse"), k=K)
    ingest.run(Context.of(settings), "ml-100k")
    warehouse = Warehouse(settings.warehouse)
    ids = read_catalogue(warehouse, warehouse.version(ITEMS)).item_ids
    toy_version.champion(settings, list(ids))
    score.run(Context.of(settings), NIGHT)
    published = publish.run(Context.of(settings), NIGHT)
    expected, seen = by_brute_force(settings, tmp_path / "night", K, CLOCK)
    found = staged(settings)
    assert len(found) == 943
    assert all(len(rows) == K for rows in found.values())
    assert not any({row["item_id"] for row in found[user]} & items for user, items in seen.items())
    assert_equal_lists(found, expected)
    assert published["rows"] == warehouse.read(RECOMMENDATIONS).num_rows == 943 * K
