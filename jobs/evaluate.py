"""evaluate: rank the whole catalogue for every test user with the version and with the baselines.

- Tables are read at the versions that the model version was trained on, so that the split is the
  one that it was trained for.
- Baselines are chosen on validation; every interval is a paired bootstrap over the users.
- The report is written, and the version's own figures are logged to the registry.

Trade-off: a version answers only the split that it was trained for, since on any other it would
have seen test interactions; of the other splits the report shows the baselines.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

from jobs import registry
from jobs.als import implicit_als
from jobs.dataset_reader import Dataset, read_dataset
from jobs.lineage import recorded
from jobs.reports import terminal_table, write_evaluation
from jobs.settings import Settings
from jobs.spark import session
from jobs.tables import INTERACTIONS
from jobs.warehouse import Warehouse
from models.bundle import PRETRAINED_VECTORS, TEXTS, Bundle
from models.comparison import ask
from models.contenders import Contender, baselines
from models.dataset import Factors, Interactions
from models.errors import InputError
from models.splits import SPLITS, Split, make_split
from models.standings import standings
from models.texts import item_texts
from models.variants import score_function

LOGGER = logging.getLogger(__name__)

ALL = "all"
SHIPPED = "shipped"
VARIANTS = ("pretrained", "fine_tuned", SHIPPED)
LOGGED = ("ndcg@10", "recall@10")


def run(
    settings: Settings, split: str = "warm", model_version: str | None = None
) -> dict[str, Any]:
    """Report `split` of SPLITS, or `all`, for a version (default: the candidate).

    Raises InputError for an unknown split, a missing version, or another threshold than its own.
    """
    names = _names(split)
    bundle = registry.candidate(settings, model_version)
    _refuse_other_threshold(settings, bundle)
    warehouse = Warehouse(settings.warehouse)
    with recorded(settings, "evaluate", model_version=bundle.version) as record:
        dataset = read_dataset(warehouse, bundle.manifest["tables"])
        record.inputs |= dataset.versions
        splits = {name: _evaluate(settings, name, dataset, bundle) for name in names}
        record.rows |= {name: found["users"] for name, found in splits.items()}
        report = {
            "data": settings.data_name or _data_name(warehouse, dataset.versions),
            "model_version": bundle.version,
            "tables": dataset.versions,
            "splits": splits,
        }
        page = write_evaluation(
            Path(settings.reports), report, bundle.manifest.get("learning_curve", [])
        )
        registry.log_metrics(settings, bundle.version, _logged(splits))
    text = "\n\n".join(terminal_table(name, found) for name, found in splits.items())
    return {**report, "report": str(page), "text": f"{text}\n\n{page}"}


def _names(split: str) -> list[str]:
    if split == ALL:
        return list(SPLITS)
    if split not in SPLITS:
        raise InputError(f"split {split!r}: expected one of {', '.join((*SPLITS, ALL))}")
    return [split]


def _refuse_other_threshold(settings: Settings, bundle: Bundle) -> None:
    trained = bundle.positive_threshold
    if trained != settings.positive_threshold:
        raise InputError(
            f"setting `positive_threshold` is {settings.positive_threshold:g}, but model version "
            f"{bundle.version} was trained with {trained:g}: evaluate with that, or train again"
        )


def _evaluate(settings: Settings, name: str, dataset: Dataset, bundle: Bundle) -> dict[str, Any]:
    LOGGER.info("evaluating split %s", name)
    split = make_split(name, dataset.interactions, settings.positive_threshold)
    vectors = _pretrained_vectors(bundle, dataset)
    return standings(
        ask(split.final, dataset.profiles),
        _baselines(settings, split, dataset, vectors) | _versions(split, bundle, dataset),
        SHIPPED,
        vectors,
        dataset.user_attributes,
        settings.bootstrap_resamples,
    )


def _baselines(
    settings: Settings, split: Split, dataset: Dataset, vectors: Factors
) -> dict[str, Contender]:
    def factorise(train: Interactions) -> Factors:
        return implicit_als(session(settings, "evaluate"), train, settings.seed).items

    tuning = ask(split.tuning, dataset.profiles)
    return baselines(split, tuning, factorise, vectors, settings.seed)


def _versions(split: Split, bundle: Bundle, dataset: Dataset) -> dict[str, Contender]:
    if split.name.removesuffix("_0") != bundle.manifest.get("split", "warm"):
        LOGGER.warning(
            "%s was not trained for split %s: baselines only", bundle.version, split.name
        )
        return {}
    threads = os.cpu_count() or 1
    clock = split.final.clock
    return {
        variant: Contender(score_function(bundle, variant, dataset.catalogue, threads, clock))
        for variant in VARIANTS
    }


def _pretrained_vectors(bundle: Bundle, dataset: Dataset) -> Factors:
    rows = {text: row for row, text in enumerate(json.loads(bundle.path(TEXTS).read_text("utf-8")))}
    vectors: Factors = bundle.array(PRETRAINED_VECTORS)
    return vectors[[rows[text] for text in item_texts(dataset.catalogue)]]


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
