"""The table of methods: its settings exist, and its page has a line for each row.

Marked as a training, since it imports whatever one needs, which takes five seconds.
"""

import pytest

from jobs.bench.methods import METHODS, NOISE_TESTED, SHARES, SHIPPED, label_curves, page
from jobs.settings.model import Settings

pytestmark = pytest.mark.training

ROWS = {name: settings for group in METHODS.values() for name, settings in group.items()}


@pytest.mark.parametrize("name", ROWS)
def test_each_method_is_settings_of_train(name: str) -> None:
    chosen = Settings(**ROWS[name])
    assert set(ROWS[name]) <= set(Settings.names_for("train"))
    assert name == "top layer (default)" or chosen != Settings()


def test_what_is_shipped_or_shaken_is_among_them() -> None:
    assert set(ROWS) >= SHIPPED | NOISE_TESTED


def test_the_page_has_a_line_for_each_row_and_a_table_of_noise() -> None:
    figures = {
        "validation": 0.15, "texts_alone": 0.2, "trained_parameters": 1e6, "seconds": 95.2,
        "peak_mb": 1800, "general_rank_correlation": 0.9,
    }  # fmt: skip
    noise = {state: {"clean": 0.3, "typos": 0.29} for state in ("pretrained", "fine_tuned")}
    rows = {
        "lora": {"group": "what is tuned", **figures,
                 "shipped": {"warm": 0.18, "parity_loss": 0.001}},
        "prefix": {"group": "what is tuned", **figures},
        "adversarial step .1": {"group": "under attack, and against forgetting", **figures,
                                "noise": noise},
    }  # fmt: skip
    lines = page(rows).splitlines()
    assert "| lora | 0.1500 | 0.2000 | 1,000,000 | 95 | 1800 | 0.900 | 0.1800 | 0.10% |" in lines
    assert "| prefix | 0.1500 | 0.2000 | 1,000,000 | 95 | 1800 | 0.900 |  |  |" in lines
    assert "| adversarial step .1 | 0.3000 | 0.2900 |" in lines
    assert "| pretrained | 0.3000 | 0.2900 |" in lines


def test_the_curves_of_little_data_end_with_all_labels() -> None:
    rows = {
        name: {"settings": settings, "texts_alone": settings.get("label_share", 1.0) / 10}
        for name, settings in ROWS.items()
    }
    curves = label_curves(rows)
    assert list(curves) == ["plain", "varied texts", "pseudo-labels"]
    for curve in curves.values():
        assert curve == {share: share / 10 for share in (*SHARES, 1.0)}
