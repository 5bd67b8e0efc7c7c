"""make methods: every fine-tuning method on one data set, compared in `methods.md`.

- Each row is `nightrank train` with a few settings, run in a process of its own so that its time
  and peak memory can be measured. Rows that are already in the JSON file are kept.
- The tuning methods (LoRA and so on) are also exported with the parity gate, promoted and scored.
- Quality is validation NDCG@10: over all items, and over a fifth of the known items ranked by their
  texts alone.

Trade-off: one seed, so differences below about .003 are noise.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from jobs.bench.robustness import under_noise
from jobs.context import Context
from jobs.reports.markdown import table
from jobs.reports.plots import plot_labels
from jobs.settings.model import Settings

Row = dict[str, Any]
SHARES = (0.01, 0.03, 0.1, 0.3)
EVERY_LAYER: Row = {"tuned_layers": 6}
VARIED: Row = {"augmentations": "word_dropout,attribute_shuffle"}
SURE: Row = {"pseudo_label_confidence": 0.9}
LITTLE_DATA: dict[str, Row] = {"plain": {}, "varied texts": VARIED, "pseudo-labels": SURE}
NO_LOSS: Row = dict.fromkeys(
    (f"{name}_weight" for name in ("distillation", "ranking", "interest", "rating", "cosine")), 0.0
)

METHODS: dict[str, dict[str, Row]] = {
    "what is tuned": {
        "the heads alone": {"tuned_layers": 0},
        "top layer (default)": {},
        "top two layers": {"tuned_layers": 2},
        "all layers": EVERY_LAYER,
        "all layers, one opening each pass": EVERY_LAYER | {"unfreeze_epochs": 1},
        "lora": EVERY_LAYER | {"tuning": "lora"},
        "adalora": EVERY_LAYER | {"tuning": "adalora"},
        "prefix": EVERY_LAYER | {"tuning": "prefix"},
        "adapters": EVERY_LAYER | {"tuning": "adapters"},
    },
    "optimiser and precision": {
        "sgd": {"optimiser": "sgd", "encoder_learning_rate": 0.02},
        "bf16": {"precision": "bf16"},
        "two steps accumulated": {"accumulated_steps": 2},
        "layers computed twice": {"checkpointing": True},
        "two processes": {"processes": 2},
    },
    "losses": {
        "distillation": NO_LOSS | {"distillation_weight": 1.0},
        "ranking (softmax)": NO_LOSS | {"ranking_weight": 0.1},
        "ranking (sampled softmax, logQ)": NO_LOSS
        | {"ranking_weight": 0.1, "ranking_loss": "sampled_softmax"},
        "ranking (gBCE)": NO_LOSS | {"ranking_weight": 1.0, "ranking_loss": "gbce"},
        "interest (BCE)": NO_LOSS | {"interest_weight": 0.2},
        "rating (MSE)": NO_LOSS | {"rating_weight": 0.2},
        "cosine": NO_LOSS | {"cosine_weight": 1.0},
        "all five": {"rating_weight": 0.1, "cosine_weight": 0.3},
        "all five, learned weights": {
            "rating_weight": 0.1,
            "cosine_weight": 0.3,
            "learned_weights": True,
        },
    },
    "under attack, and against forgetting": {
        "adversarial step .03": {"adversarial_step": 0.03},
        "adversarial step .1": {"adversarial_step": 0.1},
        "typos and truncation": {"augmentations": "typos,truncation"},
        "anchor .1": {"anchor_weight": 0.1},
        "replay 1": {"replay_weight": 1.0},
    },
    "few labels": {
        f"{share:.0%} of the labels, {name}": {"label_share": share} | method
        for share in SHARES
        for name, method in LITTLE_DATA.items()
    }
    # all labels, plain, is the default
    | {f"100% of the labels, {name}": method for name, method in LITTLE_DATA.items() if method},
}
SHIPPED = {"top layer (default)", "all layers", "lora", "adalora", "prefix", "adapters"}
NOISE_TESTED = {
    "top layer (default)",
    "adversarial step .03",
    "adversarial step .1",
    "typos and truncation",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what isn't in the JSON file yet, and write the page."""
    parser = argparse.ArgumentParser(prog="methods", description=__doc__)
    parser.add_argument("reports", nargs="?", default="reports", type=Path)
    parser.add_argument("--warehouse", default="warehouse/methods")
    parser.add_argument("--only", nargs="+", default=list(METHODS), choices=METHODS)
    chosen = parser.parse_args(arguments)
    chosen.reports.mkdir(parents=True, exist_ok=True)
    file = chosen.reports / "methods.json"
    rows: dict[str, Row] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    for group in chosen.only:
        for name, settings in METHODS[group].items():
            if rows.get(name, {}).get("settings") != settings:
                rows[name] = _row(group, name, settings, chosen.warehouse)
                print(f"methods: {name}: {rows[name]}", flush=True)
                file.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    (chosen.reports / "methods.md").write_text(page(rows), "utf-8")
    plot_labels(chosen.reports / "labels.png", label_curves(rows))


def _row(group: str, name: str, settings: Row, warehouse: str) -> Row:
    """Train, and return what came out with its cost."""
    began = time.monotonic()
    result, megabytes = _command("train", warehouse, settings)
    row = {
        "group": group,
        "settings": settings,
        **{key: value for key, value in result.items() if isinstance(value, float | int)},
        "seconds": round(time.monotonic() - began),
        "peak_mb": round(megabytes),
    }
    if name in NOISE_TESTED:
        context = Context.of(Settings(warehouse=warehouse, **settings))
        trained = context.registry.candidate(result["model_version"])
        row["noise"] = under_noise(context, trained)
    if name in SHIPPED:
        row["shipped"] = _shipped(warehouse)
    return row


def _shipped(warehouse: str) -> Row:
    """Export the candidate, promote it and score with it."""
    exported, _ = _command("export", warehouse, {})
    evaluated, _ = _command("evaluate", warehouse, {})
    _command("promote", warehouse, {"promote_tolerance": 1.0})
    scored, _ = _command("score", warehouse, {})
    return {
        "encoder_bytes": exported["encoder_bytes"],
        "parity_loss": max(value for key, value in exported.items() if key.endswith("_loss")),
        "warm": evaluated["splits"]["warm"]["models"]["shipped"]["ndcg@10"],
        "rows_scored": scored["rows"],
    }


def _command(verb: str, warehouse: str, settings: Row) -> tuple[Row, float]:
    """Run a verb in a process; return its result and its peak memory in MB."""
    flags = [
        part
        for name, value in settings.items()
        for part in (f"--{name.replace('_', '-')}", str(value).lower())
    ]
    command = [
        sys.executable, "-m", "jobs.cli", verb, "--warehouse", warehouse, "--json", *flags,
    ]  # fmt: skip
    with TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"methods: {' '.join(command[2:])} failed")
        output.seek(0)
        result: Row = json.load(output)
    return result, usage.ru_maxrss / 1024


def page(rows: dict[str, Row]) -> str:
    """Return the tables in Markdown."""
    parts = []
    for group in METHODS:
        found = {name: row for name, row in rows.items() if row["group"] == group}
        if found:
            parts.append(_table(group, found))
    parts.append(_noise_table({name: row["noise"] for name, row in rows.items() if "noise" in row}))
    return "\n\n".join(part for part in parts if part) + "\n"


def label_curves(rows: dict[str, Row]) -> dict[str, dict[float, float]]:
    """Return NDCG@10 by texts alone of each method for little data, by the share of the labels."""
    curves: dict[str, dict[float, float]] = {name: {} for name in LITTLE_DATA}
    for row in rows.values():
        method = {name: value for name, value in row["settings"].items() if name != "label_share"}
        for name, wanted in LITTLE_DATA.items():
            if method == wanted:
                curves[name][row["settings"].get("label_share", 1.0)] = row["texts_alone"]
    return curves


def _table(group: str, rows: dict[str, Row]) -> str:
    head = ["", "NDCG@10, all items", "by texts alone", "trained", "seconds", "MB", "general"]
    shipped = any("shipped" in row for row in rows.values())
    head += ["shipped, test", "parity loss"] if shipped else []
    lines = []
    for name, row in rows.items():
        cells = [
            name,
            f"{row['validation']:.4f}",
            f"{row['texts_alone']:.4f}",
            f"{row['trained_parameters']:,.0f}",
            f"{row['seconds']:.0f}",
            str(row["peak_mb"]),
            f"{row['general_rank_correlation']:.3f}",
        ]
        if "shipped" in row:
            cells += [f"{row['shipped']['warm']:.4f}", f"{row['shipped']['parity_loss']:.2%}"]
        lines.append(cells + [""] * (len(head) - len(cells)))
    return f"## {group.capitalize()}\n\n{table(head, lines)}"


def _noise_table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    if not found:
        return ""
    noises = list(next(iter(found.values()))["pretrained"])
    states = {"pretrained": next(iter(found.values()))["pretrained"]}
    states |= {name: both["fine_tuned"] for name, both in found.items()}
    lines = [
        [name, *(f"{values[noise]:.4f}" for noise in noises)] for name, values in states.items()
    ]
    return f"## New items whose texts are noisy\n\n{table(['', *noises], lines)}"


if __name__ == "__main__":
    main()
