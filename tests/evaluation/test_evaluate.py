"""The step `evaluate`, on a slice of MovieLens-100K and a version that was never trained."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from baseline_names import BASELINES
from pyspark.sql import SparkSession
from toy_version import WIDTH, champion

from jobs.context import Context
from jobs.questions import nights
from jobs.settings.model import Settings
from jobs.steps import evaluate
from jobs.warehouse.dataset import read_dataset
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import RUNS
from models.data.texts import item_texts
from models.errors import InputError
from models.nights.recipe import Recipe
from models.nights.weights import NightChoice
from models.serving.bundle import FINE_TUNED_VECTORS, PRETRAINED_VECTORS, TEXTS, write_manifest
from models.serving.manifest import TrainedWith


@pytest.fixture
def settings(movielens: Settings, tmp_path: Path) -> Settings:
    """Settings of a warehouse with a version that has random text vectors."""
    ours = movielens.model_copy(
        update={"reports": str(tmp_path / "reports"), "bootstrap_resamples": 200, "data_name": "ml"}
    )
    dataset = read_dataset(Warehouse(ours.warehouse))
    bundle = champion(ours, list(dataset.catalogue.item_ids))
    texts = list(dict.fromkeys([*item_texts(dataset.catalogue), *dataset.profiles]))
    vectors = np.random.default_rng(0).normal(size=(len(texts), WIDTH)).astype(np.float32)
    (bundle.folder / "training").mkdir()
    (bundle.folder / TEXTS).write_text(json.dumps(texts), "utf-8")
    for name in (PRETRAINED_VECTORS, FINE_TUNED_VECTORS):
        np.save(bundle.folder / name, vectors)
    again = write_manifest(bundle.folder, replace(bundle.manifest, tables=dataset.versions))
    Context.of(ours).registry.register(again)
    return ours


def test_the_warm_report_has_every_model_and_is_logged(
    spark: SparkSession, settings: Settings
) -> None:
    result = evaluate.run(Context.of(settings))
    report = json.loads((Path(settings.reports) / "evaluation.json").read_text("utf-8"))
    warm = report["splits"]["warm"]
    assert report["data"] == "ml"
    assert report["model_version"] == result["model_version"]
    assert list(warm["models"]) == [*BASELINES, "pretrained", "fine_tuned", "shipped"]
    low, mean, high = warm["intervals"]["shipped-ease"]
    assert low <= mean <= high
    assert {"gender", "user activity", "item popularity"} <= set(warm["slices"])
    logged = Context.of(settings).registry.metrics_of(result["model_version"])
    assert logged["warm_ndcg@10"] == pytest.approx(warm["models"]["shipped"]["ndcg@10"])
    runs = Warehouse(settings.warehouse).read(RUNS).to_pylist()
    [run] = [row for row in runs if row["step"] == "evaluate"]
    assert dict(run["rows"]) == {name: found["users"] for name, found in report["splits"].items()}
    assert dict(run["inputs"]) == report["tables"]
    six = report["splits"]["nights"]
    assert list(six["models"]) == [*BASELINES, "no_text", "untouched_text", "shipped"]
    assert logged["nights_ndcg@10"] == pytest.approx(six["models"]["shipped"]["ndcg@10"])
    assert six["tuned_on"] == "warm"
    again = evaluate.run(Context.of(settings))
    for name, found in report["splits"].items():
        assert again["splits"][name]["models"] == found["models"]


def test_a_nights_figure_is_the_mean_over_user_nights(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of large data: few users are asked in each night, and weights are chosen before the first."""
    monkeypatch.setattr(nights, "REPORT_USERS", 5 * len(nights.CUTS))
    monkeypatch.setattr(nights, "MOST_WEIGHED", 0)
    chosen, choose = [], Recipe.weights

    def weights(self: Recipe, *rest: Any) -> NightChoice:
        chosen.append(choose(self, *rest))
        return chosen[-1]

    monkeypatch.setattr(Recipe, "weights", weights)
    found = evaluate.run(Context.of(settings), "nights")["splits"]["nights"]
    asked = [night["users"] for night in found["nights"]]
    assert max(asked) == 5
    assert any("drawn_from" in night for night in found["nights"])
    assert len(chosen) == 1
    assert sorted(night["date"] for night in found["nights"]) == [
        night["date"] for night in found["nights"]
    ]
    assert found["users"] <= sum(asked)
    for model, metrics in found["models"].items():
        each = [night["ndcg@10"][model] for night in found["nights"]]
        assert metrics["ndcg@10"] == pytest.approx(np.average(each, weights=asked))
        low, mean, high = found["intervals"].get(f"shipped-{model}", found["intervals"]["shipped"])
        assert low <= mean <= high


def test_a_split_that_the_version_was_not_trained_for_shows_baselines(
    spark: SparkSession, settings: Settings
) -> None:
    result = evaluate.run(Context.of(settings), "cold_item")
    assert list(result["splits"]["cold_item"]["models"]) == ["random", "ridge"]
    assert result["splits"]["cold_item"]["intervals"] == {}


def test_what_the_version_can_not_answer_is_refused(settings: Settings) -> None:
    with pytest.raises(InputError, match=r"split 'hot': expected one of nights, warm, .*, all"):
        evaluate.run(Context.of(settings), "hot")
    with pytest.raises(InputError, match="no-such-version"):
        evaluate.run(Context.of(settings), "warm", "no-such-version")
    other = settings.model_copy(update={"positive_threshold": 3.0})
    with pytest.raises(InputError, match=r"`positive_threshold` is 3, .* trained with 4"):
        evaluate.run(Context.of(other))


def test_the_report_of_all_splits_asks_the_siblings_of_each_seed(
    spark: SparkSession, settings: Settings
) -> None:
    ours = Context.of(settings).registry.candidate()
    changed = {"warm": ("cold_item", 0), "seed": ("warm", 5), "threshold": ("warm", 0)}
    for place, (what, (split, seed)) in enumerate(changed.items()):
        other = champion(settings, ours.item_ids, seed=place + 1)
        shutil.copytree(ours.folder / "training", other.folder / "training")
        threshold = 3.0 if what == "threshold" else 4.0
        manifest = replace(
            other.manifest,
            tables=ours.manifest.tables,
            split=split,
            settings=TrainedWith({"positive_threshold": threshold, "seed": seed, "factors": 16}),
            export_settings={"keep_layers": 2, "seed": seed},
        )
        Context.of(settings).registry.register(write_manifest(other.folder, manifest))
    own = TrainedWith({**ours.manifest.settings.values, "seed": 0})
    shrunk = {"keep_layers": 2, "seed": 0}
    again = replace(ours.manifest, settings=own, export_settings=shrunk)
    Context.of(settings).registry.register(write_manifest(ours.folder, again))
    splits = evaluate.run(Context.of(settings), "all")["splits"]
    assert splits["warm"]["versions"] == ["toy-0", "toy-2"]
    assert splits["cold_item"]["versions"] == ["toy-1"]
    assert splits["global_time"]["versions"] == []
    each = [one["ndcg@10"] for one in splits["warm"]["seeds"]["shipped"]]
    assert splits["warm"]["models"]["shipped"]["ndcg@10"] == pytest.approx(sum(each) / 2)
    assert {"pretrained", "fine_tuned", "shipped"} == set(splits["warm"]["interest"])
    assert "warm_ndcg@10" not in Context.of(settings).registry.metrics_of(ours.version)
