"""The evaluation report: its files, its merging of splits, and what people read."""

import json
from pathlib import Path

from jobs.reports.evaluation import terminal_table, write_evaluation

CURVE = [{"epoch": 1, "loss": 2.0}, {"epoch": 1, "eval_ndcg@10": 0.1}, {"epoch": 2, "loss": 1.0}]


def report(split: str, version: str = "one") -> dict[str, object]:
    """Make a report of two models with a slice."""
    metrics = {"ndcg@10": 0.15, "recall@10": 0.2}
    better = {"ndcg@10": 0.25, "recall@10": 0.3, "auc": 0.7}
    groups = {
        group: {"users": 20, "ndcg@10": {"ease": ndcg, "shipped": 0.25}}
        for group, ndcg in (("low", 0.1), ("high", 0.2))
    }
    found = {
        "users": 40,
        "models": {"ease": metrics, "shipped": better},
        "seeds": {"shipped": [{"ndcg@10": 0.24}, {"ndcg@10": 0.26}]},
        "intervals": {"shipped": [0.2, 0.25, 0.3], "shipped-ease": [0.05, 0.1, 0.15]},
        "interest": {
            "shipped": {
                "pairs": 4,
                "auc": 0.75,
                "calibration_error": 0.02,
                "reliability": [[0.2, 0.25, 2], [0.8, 0.75, 2]],
            }
        },
        "chosen": {"ease": {"penalty": 100.0}},
        "slices": {"user activity": groups},
    }
    tables = {"interactions": 3}
    return {"data": "toy", "model_version": version, "tables": tables, "splits": {split: found}}


def test_the_page_shows_table_interval_slices_and_plots(tmp_path: Path) -> None:
    page = write_evaluation(tmp_path, report("warm"), CURVE).read_text("utf-8")
    assert "| ease | 0.1500 | 0.2000 |  | +0.1000 [+0.0500, +0.1500] |" in page
    assert "| shipped | 0.2500 | 0.3000 | 0.700 |  |" in page
    assert "Chosen on validation: ease: penalty 100." in page
    assert "Shipped, NDCG@10: 0.2400, 0.2600; mean 0.2500 [0.2000, 0.3000]." in page
    assert "| shipped | 4 | 0.750 | 0.020 |" in page
    assert "| gap |  | 0.1000 | 0.0000 |" in page
    for name in (
        "evaluation-warm",
        "evaluation-warm-slices",
        "evaluation-warm-reliability",
        "evaluation-learning",
    ):
        assert f"({name}.png)" in page
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_evaluation(tmp_path / folder, report("warm"), CURVE)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_splits_of_one_version_gather_and_another_version_starts_anew(tmp_path: Path) -> None:
    for split, version, expected in (
        ("warm", "one", ["warm"]),
        ("cold_item", "one", ["cold_item", "warm"]),
        ("warm", "two", ["warm"]),
    ):
        write_evaluation(tmp_path, report(split, version), [])
        kept = json.loads((tmp_path / "evaluation.json").read_text("utf-8"))
        assert list(kept["splits"]) == expected
        assert kept["model_version"] == version


def test_a_damaged_earlier_report_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text("{", "utf-8")
    write_evaluation(tmp_path, report("warm"), [])
    assert json.loads((tmp_path / "evaluation.json").read_text("utf-8"))["data"] == "toy"


def test_the_terminal_shows_the_headline_numbers() -> None:
    found = report("warm")["splits"]
    assert isinstance(found, dict)
    assert terminal_table("warm", found["warm"]).splitlines() == [
        "warm: 40 users",
        "model            NDCG@10  Recall@10  shipped minus it",
        "ease              0.1500     0.2000  +0.1000 [+0.0500, +0.1500]",
        "shipped           0.2500     0.3000",
    ]
