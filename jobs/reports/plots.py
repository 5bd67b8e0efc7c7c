"""The report's plots, drawn by matplotlib without a display.

- Bars of every model, the language model before and after fine-tuning and compression in colour.
- What each part adds to one score.
- Bars by tercile of user activity and of item popularity.
- The share of liked pairs against the predicted probability.
- The learning curve: loss and validation NDCG by epoch.
- The speed comparison: seconds as multiples of the bare matrix product's.
- The stages of the compression: quality against speed.
- The importance of each searched setting.
- Quality by the share of the labels used.

Trade-off: plain PNG files beside the page, without dates inside, so that the same figures give the
same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

GREY, COLOURS = "#9aa5b1", {"pretrained": "#f0b429", "fine_tuned": "#2186eb", "shipped": "#0b69a3"}
SLICES = ("user activity", "item popularity")
METRIC = "ndcg@10"
EXPLANATION = "explain.png"


def plot_models(path: Path, name: str, found: dict[str, Any]) -> None:
    """Draw the NDCG@10 of each model of a split."""
    models = found["models"]
    figure = Figure(figsize=(7, 0.6 + 0.4 * len(models)), layout="constrained")
    axes = figure.add_subplot()
    values = [metrics[METRIC] for metrics in models.values()]
    bars = axes.barh(list(models), values, color=[COLOURS.get(model, GREY) for model in models])
    axes.bar_label(bars, fmt="{:.3f}", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(f"NDCG@10, {name}")
    _save(figure, path)


def plot_parts(path: Path, title: str, parts: Mapping[str, float]) -> None:
    """Draw what each part adds to a score, one after another, and the score at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(7, 0.9 + 0.4 * len(parts)), layout="constrained")
    axes = figure.add_subplot()
    adds = np.round(list(parts.values()), 4) + 0.0  # no -0.00
    begins = np.append(np.cumsum(adds) - adds, 0.0)
    colours = [COLOURS["fine_tuned" if add >= 0 else "pretrained"] for add in adds]
    bars = axes.barh([*parts, "score"], [*adds, adds.sum()], left=begins, color=[*colours, GREY])
    axes.bar_label(bars, [f"{add:+.2f}" for add in adds] + [f"{adds.sum():.2f}"], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(f"score of {title}".replace("$", r"\$"))
    _save(figure, path)


def plot_slices(path: Path, name: str, found: dict[str, Any]) -> bool:
    """Draw NDCG@10 by user activity and by item popularity; return whether there was any."""
    slices = {title: found["slices"][title] for title in SLICES if title in found["slices"]}
    if not slices:
        return False
    figure = Figure(figsize=(5 * len(slices), 4), layout="constrained")
    for place, (title, groups) in enumerate(slices.items(), start=1):
        axes = figure.add_subplot(1, len(slices), place)
        models = list(found["models"])
        width = 0.8 / len(models)
        ticks = np.arange(len(groups))
        for number, model in enumerate(models):
            values = [group[METRIC][model] for group in groups.values()]
            axes.bar(ticks + number * width - 0.4 + width / 2, values, width, label=model)
        axes.set_xticks(ticks, list(groups))
        axes.set_xlabel(title)
        axes.set_ylabel(f"NDCG@10, {name}")
    axes.legend(fontsize="small")
    _save(figure, path)
    return True


def plot_reliability(path: Path, name: str, interest: dict[str, Any]) -> None:
    """Draw the share of pairs that were liked against the probability that was predicted."""
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    for model, one in interest.items():
        said, was, _ = np.array(one["reliability"]).reshape(-1, 3).T
        axes.plot(said, was, marker="o", color=COLOURS.get(model, GREY), label=model)
    axes.set_xlabel(f"predicted probability of liking, {name}")
    axes.set_ylabel("share that was liked")
    axes.legend(fontsize="small")
    _save(figure, path)


def plot_speed(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw each contender's seconds as a share of the product's, a panel for each size."""
    sizes = list(dict.fromkeys((row["users"], row["items"]) for row in rows))
    figure = Figure(figsize=(5 * len(sizes), 4), layout="constrained")
    for place, size in enumerate(sizes, start=1):
        axes = figure.add_subplot(1, len(sizes), place)
        shown = [row for row in rows if (row["users"], row["items"]) == size]
        ratios = [row["ratio_to_product"] for row in shown]
        bars = axes.barh([row["name"] for row in shown], ratios, color=GREY)
        axes.bar_label(bars, fmt="{:.2f}", padding=3)
        axes.set_xscale("log")
        axes.invert_yaxis()
        axes.margins(x=0.2)
        axes.set_xlabel(f"times the product, {size[0]:,} x {size[1]:,}")
    _save(figure, path)


def plot_learning_curve(path: Path, curve: Sequence[Mapping[str, Any]]) -> bool:
    """Draw the entries' "loss" and "eval_ndcg@10" by "epoch"; return whether there were any."""
    drawn = {
        key: [(entry["epoch"], entry[key]) for entry in curve if key in entry and "epoch" in entry]
        for key in ("loss", f"eval_{METRIC}")
    }
    if not any(drawn.values()):
        return False
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for key, colour, side in zip(
        drawn, (GREY, COLOURS["shipped"]), (axes, axes.twinx()), strict=True
    ):
        side.plot(*np.array(drawn[key]).reshape(-1, 2).T, color=colour, marker=".")
        side.set_ylabel("training loss" if key == "loss" else "validation NDCG@10", color=colour)
    axes.set_xlabel("epoch")
    _save(figure, path)
    return True


def plot_ladder(path: Path, rungs: Sequence[dict[str, Any]]) -> None:
    """Draw the NDCG@10 of each rung of the compression against its texts a second."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    speeds = [rung["texts_per_second"] for rung in rungs]
    axes.plot(speeds, [rung[METRIC] for rung in rungs], color=GREY, linewidth=1, zorder=1)
    for rung, speed in zip(rungs, speeds, strict=True):
        colour = COLOURS.get(rung["name"], GREY)
        axes.scatter(speed, rung[METRIC], s=60, color=colour, zorder=2)
        label = f"{rung['name']}, {rung['bytes'] / 1e6:.1f} MB"
        axes.annotate(label, (speed, rung[METRIC]), (0, 8), textcoords="offset points", ha="center")
    axes.set_xscale("log")
    axes.margins(0.2)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("texts a second")
    axes.set_ylabel("NDCG@10 by texts alone")
    _save(figure, path)


def plot_labels(path: Path, curves: Mapping[str, Mapping[float, float]]) -> None:
    """Draw each method's NDCG@10 by texts alone, by the share of the labels that it was given."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        shares = sorted(curve)
        axes.plot(shares, [curve[share] for share in shares], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_xlabel("share of the labels")
    axes.set_ylabel("NDCG@10 by texts alone")
    axes.legend(fontsize="small")
    _save(figure, path)


def plot_importances(path: Path, importances: Mapping[str, float]) -> None:
    """Draw each setting's share of the importance, the largest first."""
    figure = Figure(figsize=(7, 0.6 + 0.4 * len(importances)), layout="constrained")
    axes = figure.add_subplot()
    names = sorted(importances, key=lambda name: -importances[name])
    bars = axes.barh(names, [importances[name] for name in names], color=GREY)
    axes.bar_label(bars, fmt="{:.2f}", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("share of the importance for validation NDCG@10")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120, metadata={"Software": None})
