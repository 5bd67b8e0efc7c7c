"""The evaluation report: JSON for programs, a Markdown page with plots for people.

- `evaluation.json` holds the figures. Splits that were reported before, for the same model version
  and tables, are kept: evaluating one split at a time gives the same page as all at once.
- `evaluation.md` begins with `nights`, which asks what a night asks. It shows for each split a
  table of the models, the single trainings of the shipped model where there were several, interest
  prediction, slices with the gap between the best and the worst group, and what was chosen on
  validation; for `nights` a table by night.

Trade-off: the page is written from the JSON alone, so it has no figures that programs can't read.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.reports.markdown import table
from jobs.reports.plots import plot_learning_curve, plot_models, plot_reliability, plot_slices

JSON_NAME, PAGE_NAME = "evaluation.json", "evaluation.md"
COLUMNS = (
    ("NDCG@10", "ndcg@10", "{:.4f}"),
    ("Recall@10", "recall@10", "{:.4f}"),
    ("MRR@10", "mrr@10", "{:.4f}"),
    ("HitRate@10", "hit_rate@10", "{:.4f}"),
    ("AUC", "auc", "{:.3f}"),
    ("coverage", "coverage@10", "{:.3f}"),
    ("Gini", "gini@10", "{:.3f}"),
    ("overlap of two lists", "list_overlap@10", "{:.3f}"),
    ("lists with the top item", "top_item@10", "{:.3f}"),
    ("popularity", "popularity_percentile@10", "{:.3f}"),
    ("novelty", "novelty@10", "{:.2f}"),
    ("diversity", "diversity@10", "{:.3f}"),
    ("new items", "new_items@10", "{:.3f}"),
)


def write_evaluation(
    folder: Path, report: dict[str, Any], learning_curve: Sequence[Mapping[str, Any]]
) -> Path:
    """Write the report's files into `folder` and return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = _with_earlier_splits(folder / JSON_NAME, report)
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / JSON_NAME).write_text(text + "\n", "utf-8")
    sections = [_head(whole)]
    for name, found in whole["splits"].items():
        bars, slices = f"evaluation-{name}.png", f"evaluation-{name}-slices.png"
        plot_models(folder / bars, name, found)
        plotted = plot_slices(folder / slices, name, found)
        sections += _split_sections(name, found, bars, slices if plotted else None)
        if found["interest"]:
            curve = f"evaluation-{name}-reliability.png"
            plot_reliability(folder / curve, name, found["interest"])
            sections += [_interest_table(found["interest"]), f"![Reliability on {name}]({curve})"]
    if plot_learning_curve(folder / "evaluation-learning.png", learning_curve):
        sections.append("## Learning curve\n\n![Learning curve](evaluation-learning.png)")
    page = folder / PAGE_NAME
    page.write_text("\n\n".join(sections) + "\n", "utf-8")
    return page


def terminal_table(name: str, found: dict[str, Any]) -> str:
    """Return a split's headline numbers as aligned lines."""
    lines = [
        f"{name}: {_asked(found)} users",
        f"{'model':<16} NDCG@10  Recall@10  shipped minus it",
    ]
    for model, metrics in found["models"].items():
        figures = f"{metrics['ndcg@10']:>7.4f}  {metrics['recall@10']:>9.4f}"
        lines.append(f"{model:<16} {figures}  {_interval(found, model)}".rstrip())
    return "\n".join(lines)


def _asked(found: dict[str, Any]) -> str:
    """Return how many users were asked, and of how many they are a sample."""
    if "drawn_from" not in found:
        return str(found["users"])
    return f"{found['users']} of {found['drawn_from']}"


def _with_earlier_splits(path: Path, report: dict[str, Any]) -> dict[str, Any]:
    try:
        earlier = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return report
    same = all(earlier.get(key) == report[key] for key in ("data", "model_version", "tables"))
    splits = {**(earlier["splits"] if same else {}), **report["splits"]}
    ordered = sorted(splits.items(), key=lambda split: (split[0] != "nights", split[0]))
    return {**report, "splits": dict(ordered)}


def _head(report: dict[str, Any]) -> str:
    tables = ", ".join(f"`{name}` version {number}" for name, number in report["tables"].items())
    return (
        "# Ranking quality\n\n"
        f"Data: {report['data']} ({tables}). Model version: `{report['model_version']}`.\n\n"
        "Every model ranks the whole catalogue (for cold items: the withheld items) without what "
        "the user has already; ties stand by item order. Everything that was chosen, was chosen on "
        "the validation part. Intervals: 95 %, paired bootstrap over users, NDCG@10. Of very many "
        'users a sample is asked ("20000 of 50000 users"), whose intervals they are.'
    )


def _split_sections(name: str, found: dict[str, Any], bars: str, slices: str | None) -> list[str]:
    models = found["models"]
    shown = [
        (title, key, form) for title, key, form in COLUMNS if any(key in m for m in models.values())
    ]
    header = ["model", *(title for title, _, _ in shown), "shipped minus it"]
    rows = [
        [
            model,
            *(form.format(metrics[key]) if key in metrics else "" for _, key, form in shown),
            _interval(found, model),
        ]
        for model, metrics in models.items()
    ]
    sections = [
        f"## {name}: {_asked(found)} users",
        table(header, rows),
        f"![NDCG@10 of each model on {name}]({bars})",
    ]
    if "new_items_liked" in found:
        sections.append(
            f"Of what was liked, {found['new_items_liked']:.1%} are items that nobody had liked "
            'before; "new items" is their share in the lists.'
        )
    if "nights" in found:
        sections += [_tuned_on(found), _night_table(found["nights"])]
    if "shipped" in found["seeds"]:
        sections.append(_seeds(found))
    if found["chosen"]:
        sections.append("Chosen on validation: " + "; ".join(_chosen(found["chosen"])) + ".")
    sections += [_slice_table(title, groups) for title, groups in found["slices"].items()]
    return sections if slices is None else [*sections, f"![NDCG@10 by group on {name}]({slices})"]


def _seeds(found: dict[str, Any]) -> str:
    each = ", ".join(f"{one['ndcg@10']:.4f}" for one in found["seeds"]["shipped"])
    low, mean, high = found["intervals"]["shipped"]
    return (
        f"The language model was trained {len(found['seeds']['shipped'])} times with other seeds; "
        f"figures are means. Shipped, NDCG@10: {each}; mean {mean:.4f} [{low:.4f}, {high:.4f}]."
    )


def _tuned_on(found: dict[str, Any]) -> str:
    return (
        "Everything is fitted anew for each night to what was known then, but for the language "
        f"model of `shipped`, which was tuned on the split `{found['tuned_on']}` and so has seen "
        "what was liked later; `untouched_text` is the same recipe before fine-tuning, `no_text` "
        "without any text. Figures are means over all user-nights."
    )


def _night_table(nights: Sequence[dict[str, Any]]) -> str:
    models = list(nights[0]["ndcg@10"])
    rows = [
        [
            night["date"],
            _asked(night),
            *(f"{night['ndcg@10'][model]:.4f}" for model in models),
        ]
        for night in nights
    ]
    return table(["night", "users", *models], rows)


def _interest_table(interest: dict[str, Any]) -> str:
    """Return ROC-AUC and calibration of predicted interest, before and after fine-tuning."""
    rows = [
        [
            model,
            str(one["pairs"]),
            "" if one["auc"] is None else f"{one['auc']:.3f}",
            f"{one['calibration_error']:.3f}",
        ]
        for model, one in interest.items()
    ]
    return table(["interest prediction", "pairs", "ROC-AUC", "calibration error"], rows)


def _slice_table(title: str, groups: dict[str, Any]) -> str:
    """One row for each group, and the gap between the best and the worst."""
    models = list(next(iter(groups.values()))["ndcg@10"])
    columns = [[group["ndcg@10"][model] for group in groups.values()] for model in models]
    rows = [
        [name, str(group["users"]), *(f"{group['ndcg@10'][model]:.4f}" for model in models)]
        for name, group in groups.items()
    ]
    rows.append(["gap", "", *(f"{max(values) - min(values):.4f}" for values in columns)])
    return table([f"by {title}", "users", *models], rows)


def _interval(found: dict[str, Any], model: str) -> str:
    interval = found["intervals"].get(f"shipped-{model}")
    if interval is None:
        return ""
    low, mean, high = interval
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"


def _chosen(chosen: dict[str, dict[str, float]]) -> Iterable[str]:
    for model, values in chosen.items():
        yield f"{model}: " + ", ".join(
            f"{name.replace('_', ' ')} {value:g}" for name, value in values.items()
        )
