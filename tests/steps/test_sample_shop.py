"""The sample shop goes the whole way, as its README says, with no setting but the source.

What keeps this short are a tiny encoder and few steps, which say nothing of the data.
"""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli import main
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS

pytestmark = pytest.mark.training

SHORT = {
    "EPOCHS": "1", "TUNED_LAYERS": "0", "FACTORS": "16", "MAX_TOKENS": "16", "KEEP_LAYERS": "1",
    "DISTIL_TEXTS": "100", "PARITY_TOLERANCE": "1", "BOOTSTRAP_RESAMPLES": "100",
    "QUANTISATION": "none",
}  # fmt: skip


def run(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    main(shlex.split(line)[1:])
    return capsys.readouterr().out


def test_the_commands_of_the_readme_end_in_lists(
    spark: SparkSession,
    tiny_encoder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {**SHORT, "ENCODER": tiny_encoder}.items():
        monkeypatch.setenv(f"NIGHTRANK_{name}", value)
    main(["init", str(tmp_path / "shop")])
    monkeypatch.chdir(tmp_path / "shop")
    page = Path("README.md").read_text("utf-8")
    block = re.search(r"```\n(nightrank.*?)```", page, re.DOTALL)
    assert block is not None
    commands = re.sub(r"\n +", " ", block[1]).splitlines()
    printed = {line.split()[1]: run(line.split("  #")[0], capsys) for line in commands}
    assert "other columns: kind, price" in run("nightrank ingest shop --dry-run", capsys)
    assert "champion" in run("nightrank models", capsys)
    assert printed["sql"].count("\n") == 13  # a head, a line, ten items and their number
    what_the_tables_hold()
    a_snapshot_takes_an_item_from_the_lists(capsys)


def what_the_tables_hold() -> None:
    warehouse = Warehouse("warehouse")
    items = {row["item_id"]: row for row in warehouse.read(ITEMS).to_pylist()}
    assert items["S001"]["text"].startswith(
        "Loose Green tea, hand\u2011picked. Two minutes & 80 °C."
    )
    assert items["S017"]["title"] == "Große Tasse"
    assert items["S033"]["text"].startswith("紫砂茶壶、手工制作、适合泡茶。")
    assert not items["S011"]["available"]
    values = set(warehouse.read(INTERACTIONS, columns=["value"])["value"].to_pylist())
    assert values == {1.0, 3.0, 5.0, -5.0}
    listed = set(warehouse.read(RECOMMENDATIONS, columns=["item_id"])["item_id"].to_pylist())
    assert "S011" not in listed  # sold out
    assert "S013" in listed  # new: nobody has had it


def a_snapshot_takes_an_item_from_the_lists(capsys: pytest.CaptureFixture[str]) -> None:
    warehouse = Warehouse("warehouse")
    before = warehouse.read(RECOMMENDATIONS).to_pylist()
    gone = before[0]["item_id"]
    with Path("shop/items.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    with Path("shop/items.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(row for row in rows if row[0] != gone)
    run("nightrank ingest shop --snapshot", capsys)
    for verb in ("score", "publish"):
        run(f"nightrank {verb}", capsys)
    query = f"SELECT count(*), count_if(item_id = '{gone}') FROM recommendations_latest"
    [[total, with_it]] = json.loads(run(f'nightrank sql --json "{query}"', capsys))["rows"]
    assert (total, with_it) == (len(before), 0)
