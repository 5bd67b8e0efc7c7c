"""Names of metrics come back from MLflow as they went in."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import toy_version
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.versions.metric_names import metric_name, stored_name
from jobs.versions.registry import Registry
from jobs.warehouse.delta import Warehouse
from models.serving.bundle import write_manifest

pieces = st.sampled_from(["@", "_at_", "at", "_", "-", "x", "-x", "x40-", "5", "10", "é", "/", "."])


@given(st.text(max_size=12) | st.lists(pieces, max_size=8).map("".join))
@example("ndcg@10")
@example("diverged_at_step")
@example("seen_at_10")
@example("a_at_@5")
@example("-x40-@1")
def test_a_name_comes_back_and_mlflow_takes_it(name: str) -> None:
    stored = stored_name(name)
    assert metric_name(stored) == name
    assert re.fullmatch(r"[A-Za-z0-9_-]*", stored)


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("ndcg_at_10", "ndcg@10"),
        ("warm_ndcg_at_10", "warm_ndcg@10"),
        ("parity_mean_cosine", "parity_mean_cosine"),
        ("diverged_at_step", "diverged_at_step"),
    ],
)
def test_what_0_1_0_stored_is_read_right_and_stored_so_still(stored: str, name: str) -> None:
    assert metric_name(stored) == name
    assert stored_name(name) == stored


def test_metrics_come_back_from_mlflow(tmp_path: Path) -> None:
    registry = Registry(Warehouse(str(tmp_path)))
    folder = registry.folder_of("v1")
    folder.mkdir(parents=True)
    curve = [{"step": 1, "eval_ndcg@10": 0.125}]
    described = replace(toy_version.manifest("v1", []), learning_curve=curve)
    registry.register(write_manifest(folder, described))
    metrics = {"ndcg@10": 0.25, "diverged_at_step": 3.0, "seen_at_10": 1.0, "half/é": 0.5}
    registry.log_metrics("v1", metrics)
    assert registry.metrics_of("v1") == metrics
