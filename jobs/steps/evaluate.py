"""evaluate: rank the whole catalogue for every test user with the version and with the baselines.

- `nights` comes first: the version's recipe on six nights that have passed. Then `warm`, or what
  was asked for.
- Tables are read at the versions that the model version was trained on, so that the split is the
  one that it was trained for.
- `all` asks for each split the version's siblings that were trained for it, and averages over
  their seeds.
- Baselines are chosen on validation; every interval is a paired bootstrap over the users.
- The report is written, and the version's own figures are logged to the registry.

Trade-off: a version answers only the split that it was trained for, since on any other it would
have seen test interactions; of the other splits the report shows the baselines. `nights` fits
everything anew but the language model, so that any version answers it.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.context import Context
from jobs.gate.own_split import repeats_of
from jobs.questions.nights import NIGHTS, NO_TEXT, UNTOUCHED, standings_of_nights
from jobs.questions.siblings import answers, siblings
from jobs.questions.split import SHIPPED, VARIANTS, standings_of
from jobs.reports.evaluation import terminal_table, write_evaluation
from jobs.settings.model import Settings
from jobs.warehouse.dataset import Dataset, read_training_data
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.footprint import needs_of_evaluation, refuse_too_large, size_of
from jobs.warehouse.kinds import with_had_from
from jobs.warehouse.tables import INTERACTIONS
from models.data.splits import SPLITS
from models.errors import InputError
from models.serving.bundle import Bundle
from models.serving.text_vectors import TextEncoders

ALL = "all"
NDCG, LOGGED = "ndcg@10", ("ndcg@10", "recall@10")
OURS = {*VARIANTS, NO_TEXT, UNTOUCHED}

_log = logging.getLogger("nightrank.evaluate")


def run(
    context: Context, split: str | None = None, model_version: str | None = None
) -> dict[str, Any]:
    """Report `split` for a version (default: the candidate), or for that of which it is a refit.

    It is `nights`, one of SPLITS or `all`; None: `nights` and `warm`. Raises InputError for an
    unknown split, a missing version, another threshold than its own, or nights without users.
    """
    warehouse, names = context.warehouse, _names(split)
    bundle = context.registry.judged(model_version)
    settings = with_had_from(context.settings, warehouse, bundle.manifest.tables)
    context = replace(context, settings=settings)
    _refuse_other_questions(settings, bundle)
    size = size_of(warehouse, bundle.manifest.settings.factors)
    refuse_too_large("evaluate", needs_of_evaluation(size), settings.memory_gb)
    with context.recorded("evaluate", model_version=bundle.version) as record:
        dataset = read_training_data(warehouse, bundle.manifest)
        record.inputs |= dataset.versions
        splits = _standings(context, names, bundle, dataset, siblings_too=split == ALL)
        record.rows |= {name: found["users"] for name, found in splits.items()}
        report = {
            "data": settings.data_name or _data_name(warehouse, dataset.versions),
            "model_version": bundle.version,
            "tables": dataset.versions,
            "splits": splits,
        }
        page = write_evaluation(Path(settings.reports), report, bundle.manifest.learning_curve)
        own = {name: one for name, one in splits.items() if one["versions"] == [bundle.version]}
        context.registry.log_metrics(bundle.version, _logged(own) | _best_baselines(own))
    text = "\n\n".join(terminal_table(name, found) for name, found in splits.items())
    return {**report, "report": str(page), "text": f"{text}\n\n{page}"}


def _standings(
    context: Context, names: list[str], bundle: Bundle, dataset: Dataset, siblings_too: bool
) -> dict[str, Any]:
    """Return the standings by split; InputError where on no night of it anybody came back."""
    settings, encoders, found = context.settings, TextEncoders(), {}
    for name in names:
        if name != NIGHTS:
            alike = siblings(context.registry, bundle, name) if siblings_too else [bundle]
            versions = [one for one in alike if answers(one.manifest, name)]
            found[name] = standings_of(settings, name, dataset, bundle, versions, encoders)
        elif nights := standings_of_nights(settings, dataset, bundle, encoders.of(bundle)):
            found[name] = nights
        else:
            _log.warning("split nights is left out: nobody came back on any of its six nights")
    if not found:
        raise InputError("split nights: nobody came back on any of the six nights")
    return found


def _names(split: str | None) -> list[str]:
    if split is None:
        return [NIGHTS, "warm"]
    if split == ALL:
        return [NIGHTS, *SPLITS]
    if split not in (NIGHTS, *SPLITS):
        raise InputError(f"split {split!r}: expected one of {', '.join((NIGHTS, *SPLITS, ALL))}")
    return [split]


def _refuse_other_questions(settings: Settings, bundle: Bundle) -> None:
    repeats = repeats_of(bundle)
    if repeats.repeat_policy != settings.repeat_policy:
        raise InputError(
            f"settings say {settings.repeats_told}, but model version {bundle.version} was "
            f"trained with {repeats.repeats_told}: evaluate with that, or train again"
        )
    trained = bundle.positive_threshold
    if trained != settings.positive_threshold:
        raise InputError(
            f"setting `positive_threshold` is {settings.positive_threshold:g}, but model version "
            f"{bundle.version} was trained with {trained:g}: evaluate with that, or train again"
        )


def _data_name(warehouse: Warehouse, versions: dict[str, int]) -> str:
    ids = warehouse.read(INTERACTIONS, versions[INTERACTIONS], ["ingest_id"])["ingest_id"].unique()
    return ", ".join(sorted({str(one).rpartition("-")[0] or str(one) for one in ids.to_pylist()}))


def _logged(splits: dict[str, Any]) -> dict[str, float]:
    """Return the shipped model's figures as SPLIT_METRIC, the others' as SPLIT_VARIANT_METRIC."""
    return {
        f"{name}_{'' if variant == SHIPPED else variant + '_'}{metric}": metrics[metric]
        for name, found in splits.items()
        for variant, metrics in found["models"].items()
        if variant in VARIANTS
        for metric in LOGGED
    }


def _best_baselines(splits: dict[str, Any]) -> dict[str, float]:
    """Return the best baseline's NDCG@10 by split, and the ends of the gain over it."""
    found: dict[str, float] = {}
    for name, split in splits.items():
        scores = {model: one[NDCG] for model, one in split["models"].items() if model not in OURS}
        gains = split["intervals"]
        best = max(scores, key=lambda model: scores[model], default=None)
        if best is not None and f"{SHIPPED}-{best}" in gains:
            low, _, high = gains[f"{SHIPPED}-{best}"]
            found[f"{name}_best_baseline_{NDCG}"] = scores[best]
            found |= {f"{name}_gain_low": low, f"{name}_gain_high": high}
    return found
