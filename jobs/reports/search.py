"""The outcome of `tune`: the best settings as a file for `train`, and a page of all trials.

- `nightrank.toml` holds the settings that differ from the defaults, nothing else.
- `README.md` says whether the best trial beats the configured settings on validation, and lists
  every trial that ended. Once there are enough trials it shows the importance of each searched
  setting by PED-ANOVA (Watanabe et al., IJCAI 2023).

Trade-off: the file names are always the same, so a second search overwrites the page of the first.
The trials of both stay in the study's file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from jobs.reports.markdown import table
from jobs.reports.plots import plot_importances
from jobs.search.space import chosen, configured
from jobs.search.study import CONFIGURED, ERROR, ended
from jobs.settings.model import Settings
from jobs.versions.trained import training_settings

CONFIG, PAGE, PLOT = "nightrank.toml", "README.md", "importances.png"
LEAST_FOR_IMPORTANCES = 10  # complete trials; of fewer, importances are noise


def write_tune_report(folder: Path, study: optuna.Study, settings: Settings) -> dict[str, Any]:
    """Write the files of a study with at least one complete trial; return its figures.

    `defaults` is the NDCG@10 of the configured settings, None where that trial failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trials = ended(study)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = max(complete, key=_value)
    before = next((_value(trial) for trial in complete if CONFIGURED in trial.user_attrs), None)
    beats = before is not None and _value(best) > before
    config = folder / CONFIG
    config.write_text(_toml(training_settings(chosen(settings, best.params))), "utf-8")
    sections = [
        "# The search of settings",
        _verdict(best, before, f"{len(trials)} trials"),
        f"`nightrank train --config {config}` trains with the best ones.",
        _table(trials, settings),
        _importances(folder / PLOT, study, len(complete)),
    ]
    (folder / PAGE).write_text("\n\n".join(sections) + "\n", "utf-8")
    return {
        "trials": len(trials),
        "pruned": sum(trial.state == TrialState.PRUNED for trial in trials),
        "failed": sum(ERROR in trial.user_attrs for trial in trials),
        "best": _value(best),
        "defaults": before,
        "beats_defaults": beats,
        "config": str(config),
        "report": str(folder / PAGE),
    }


def _value(trial: FrozenTrial) -> float:
    return float(trial.value or 0.0)


def _verdict(best: FrozenTrial, before: float | None, among: str) -> str:
    if before is None:
        return (
            "The configured settings failed, so that there is nothing to compare with; the best "
            f"of {among} reaches NDCG@10 {_value(best):.4f} on validation."
        )
    if _value(best) <= before:
        return (
            f"None of {among} beats the configured settings on validation: NDCG@10 {before:.4f}. "
            "The file holds those."
        )
    return (
        f"Trial {best.number} beats the configured settings on validation: NDCG@10 "
        f"{_value(best):.4f} against {before:.4f}, the best of {among}. Some of that is luck, "
        "since the same users chose it: the test part tells, after `train` and `evaluate`."
    )


def _table(trials: Sequence[FrozenTrial], settings: Settings) -> str:
    names = list(configured(settings))
    header = ["trial", "state", "NDCG@10", *(f"`{name}`" for name in names)]
    rows = []
    for trial in trials:
        state = trial.state.name.lower() + (", as configured" * (CONFIGURED in trial.user_attrs))
        value = "" if trial.value is None else f"{trial.value:.4f}"
        shown = (_shown(trial.params[name]) for name in names)
        rows.append([str(trial.number), state, value, *shown])
    reasons = [f"Trial {t.number}: {t.user_attrs[ERROR]}" for t in trials if ERROR in t.user_attrs]
    note = "A pruned trial's value is its last one. Interrupted trials are left out."
    return "\n\n".join([table(header, rows, left=["state"]), note, *reasons])


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _importances(plot: Path, study: optuna.Study, complete: int) -> str:
    plot.unlink(missing_ok=True)
    if complete < LEAST_FOR_IMPORTANCES:
        return (
            f"Importances of the settings need {LEAST_FOR_IMPORTANCES} complete trials; "
            f"there are {complete}."
        )
    plot_importances(plot, optuna.importance.get_param_importances(study))
    return f"![Importance of each setting]({plot.name})"


def _toml(values: dict[str, Any]) -> str:
    """Return the settings that differ from their defaults, one a line."""
    defaults = Settings()
    lines = ["# written by `nightrank tune`: what differs from the defaults"]
    # JSON's numbers, booleans and strings are TOML's
    lines += [
        f"{name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
        if value != getattr(defaults, name)
    ]
    return "\n".join(lines) + "\n"
