"""The sample shop goes the whole way, as its README says, with no setting but the source.

What keeps this short are a tiny encoder and few steps, which say nothing of the data.
"""

import csv
import datetime as dt
import json
import re
import shlex
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli import main
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import promote
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS
from models.errors import InputError

pytestmark = pytest.mark.training

SHORT = {
    "EPOCHS": "1", "TUNED_LAYERS": "0", "MAX_TOKENS": "16", "KEEP_LAYERS": "1",
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
    printed: dict[str, str] = {}
    for line in commands:
        command = line.split("  #")[0].rstrip()
        if command == "nightrank promote":
            the_best_baseline_is_not_far_ahead()
            a_first_champion_below_it_is_refused()
        printed[command] = run(command, capsys)
    assert "other columns: description, kind, price" in printed["nightrank ingest shop --dry-run"]
    assert "champion" in run("nightrank models", capsys)
    lists = printed[commands[-1]]
    assert lists.count("\n") == 13  # a head, a line, ten items and their number
    what_the_tables_hold()
    a_snapshot_takes_an_item_from_the_lists(capsys)


def the_best_baseline_is_not_far_ahead() -> None:
    """Where the shipped model is below it, the interval of the difference holds zero."""
    report = json.loads(Path("reports/evaluation.json").read_text("utf-8"))
    for name, split in report["splits"].items():
        own = {"shipped", "fine_tuned", "pretrained", "no_text", "untouched_text"}
        scores = {model: one["ndcg@10"] for model, one in split["models"].items()}
        best = max(scores.keys() - own, key=scores.__getitem__)
        _, _, high = split["intervals"][f"shipped-{best}"]
        assert high >= 0, (name, scores)


def a_first_champion_below_it_is_refused() -> None:
    context = Context.of(Settings(warehouse="warehouse"))
    version = context.registry.candidate().version
    found = context.registry.metrics_of(version)
    below = {"nights_ndcg@10": 0.0, "nights_gain_high": -0.01}
    context.registry.log_metrics(version, below)
    with pytest.raises(InputError, match=r"the interval of the difference ends at -0\.0100"):
        promote.run(context)
    context.registry.log_metrics(version, {name: found[name] for name in below})


def what_the_tables_hold() -> None:
    warehouse = Warehouse("warehouse")
    items = {row["item_id"]: row for row in warehouse.read(ITEMS).to_pylist()}
    assert "Loose Green tea, hand\u2011picked. Two minutes & 80 °C." in items["S001"]["text"]
    assert items["S017"]["title"] == "Große Tasse"
    assert "紫砂茶壶、手工制作、适合泡茶。" in items["S033"]["text"]
    assert not items["S011"]["available"]
    events = warehouse.read(INTERACTIONS).to_pylist()
    assert {row["value"] for row in events} == {1.0, 3.0, 5.0, -5.0}
    assert min(row["ts"] for row in events) == first_event()
    pairs = warehouse.read(RECOMMENDATIONS, columns=["user_id", "item_id"]).to_pylist()
    listed = {(row["user_id"], row["item_id"]) for row in pairs}
    sold = {item for item, row in items.items() if not row["available"]}
    assert sold == {"S011", "S022", "S033", "S044"}
    assert not sold & {item for _, item in listed}
    assert "S013" in {item for _, item in listed}  # new: nobody has had it
    had = {(row["user_id"], row["item_id"]) for row in events if row["value"] in (5.0, -5.0)}
    seen = {(row["user_id"], row["item_id"]) for row in events}
    assert not listed & had
    assert listed & (seen - had)  # looked at and not bought: it may still be


def first_event() -> dt.datetime:
    """The earliest of the times in the file, which have the zones of Berlin and Shanghai."""
    with Path("shop/interactions.csv").open(newline="", encoding="utf-8") as file:
        times = [row["created_at"] for row in csv.DictReader(file)]
    assert {time[-6:] for time in times} == {"+01:00", "+08:00"}
    return min(map(dt.datetime.fromisoformat, times))


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
