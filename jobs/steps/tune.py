"""tune: search settings of `train` by training with them; write the best to a file.

- A trial is a fine-tune judged by validation NDCG@10, as `train` does; it leaves no version. The
  first trial has the configured settings, so that the others can be compared with them.
- Trials below the median of the earlier ones are pruned; a trial that fails is left out.
- A search that was killed continues when started again, also with more `trials` or minutes.

Trade-off: the best of many trials looks better on validation than it is; the test part isn't used.
"""

import logging
import shutil
from pathlib import Path
from time import monotonic
from typing import Any

import optuna
from accelerate.utils.memory import should_reduce_batch_size
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from jobs.context import Context
from jobs.reports.search import write_tune_report
from jobs.search.space import chosen, configured, search_space
from jobs.search.study import ERROR, TimeIsUpError, TrialWatch, ask, begin_again, ended, open_study
from jobs.settings.model import Settings
from jobs.versions.code import code_hash
from jobs.versions.trained import language_model_hashes, training_settings, training_task
from jobs.warehouse.dataset import Dataset, read_dataset
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.kinds import with_had_from
from models.data.attributes import AttributeColumns
from models.errors import InputError
from models.network.loading import layers_of
from models.objective.task import TrainingTask
from models.training.finetune import finetune
from models.training.options import FinetuneOptions
from models.training.weights import start_encoder

LOGGER = logging.getLogger("nightrank.tune")
FILE, SCRATCH, LOCK = "tune.db", "tune.trial", "tune"


def run(context: Context) -> dict[str, Any]:
    """Search until `trials` have ended or `tune_minutes` are used up, and report.

    Raises InputError where the warehouse isn't local, the study's file is of another search, or
    no trial was completed.
    """
    started = monotonic()
    settings, warehouse = context.settings, context.warehouse
    _refuse_what_cannot_be(settings, warehouse)
    with context.recorded("tune") as record:
        dataset = read_dataset(warehouse)
        record.inputs |= dataset.versions
        settings = with_had_from(settings, warehouse, dataset.versions)
        columns = AttributeColumns.fit(dataset.catalogue.attributes)
        task = training_task(settings, dataset, columns)
        depth = len(layers_of(start_encoder(settings.encoder, settings.max_tokens).model))
        space = search_space(settings, depth)
        file, scratch = (warehouse.models_folder / name for name in (FILE, SCRATCH))
        with warehouse.lock(LOCK):
            study = open_study(file, _in_common(settings, dataset, space), configured(settings))
            _search(study, space, settings, task, started, scratch)
        _refuse_nothing(study, file, settings)
        record.rows["trials"] = len(ended(study))
        found = write_tune_report(Path(settings.reports) / "tune", study, settings)
    return {**found, "seconds": round(monotonic() - started, 1)}


def _refuse_what_cannot_be(settings: Settings, warehouse: Warehouse) -> None:
    if warehouse.remote:
        raise InputError(f"the trials of `tune` need a local warehouse, got {warehouse.root}")
    if settings.processes > 1:
        raise InputError(
            f"setting `processes`: `tune` trains in one process, got {settings.processes}"
        )


def _in_common(
    settings: Settings, dataset: Dataset, space: dict[str, BaseDistribution]
) -> dict[str, Any]:
    """Return what makes trials comparable, by the names that a message shows."""
    return {
        **{f"setting `{name}`": value for name, value in training_settings(settings).items()},
        **{f"version of table `{name}`": number for name, number in dataset.versions.items()},
        "code of nightrank": code_hash(),
        **{f"contents of `{name}`": h for name, h in language_model_hashes(settings).items()},
        **{f"range of `{name}`": str(values) for name, values in space.items()},
    }


def _search(
    study: optuna.Study,
    space: dict[str, BaseDistribution],
    settings: Settings,
    task: TrainingTask,
    started: float,
    scratch: Path,
) -> None:
    deadline = started + settings.tune_minutes * 60
    while (count := len(ended(study))) < settings.trials and monotonic() < deadline:
        trial = ask(study, space, settings.seed)
        LOGGER.info("trial %d of %d: %s", count + 1, settings.trials, trial.params)
        try:
            ndcg = _ndcg(chosen(settings, trial.params), task, TrialWatch(trial, deadline), scratch)
        except optuna.TrialPruned as pruned:
            LOGGER.info("trial %d of %d: pruned, %s", count + 1, settings.trials, pruned)
            study.tell(trial, state=TrialState.PRUNED)
        except TimeIsUpError:
            LOGGER.info("the %g minutes of `tune_minutes` are used up", settings.tune_minutes)
            begin_again(study, trial, configured(settings))
        except Exception as error:
            if not isinstance(error, InputError | MemoryError) and not should_reduce_batch_size(
                error
            ):
                raise
            LOGGER.warning("trial %d of %d failed: %s", count + 1, settings.trials, error)
            trial.set_user_attr(ERROR, str(error))
            study.tell(trial, state=TrialState.FAIL)
        else:
            LOGGER.info("trial %d of %d: NDCG@10 %.4f", count + 1, settings.trials, ndcg)
            study.tell(trial, ndcg)


def _ndcg(settings: Settings, task: TrainingTask, watch: TrialWatch, scratch: Path) -> float:
    """Train with `settings` and return the best validation NDCG@10; nothing is kept."""
    shutil.rmtree(scratch, ignore_errors=True)  # of a trial that was killed
    try:
        encoder = start_encoder(settings.encoder, settings.max_tokens)
        options = FinetuneOptions.of(settings.model_dump())
        return finetune(encoder, task, options, scratch, beside=[watch]).metrics["ndcg@10"]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _refuse_nothing(study: optuna.Study, file: Path, settings: Settings) -> None:
    """Raise InputError where there is no complete trial to speak of."""
    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return
    failed = [trial for trial in ended(study) if ERROR in trial.user_attrs]
    if not failed:
        raise InputError(
            f"setting `tune_minutes`: {settings.tune_minutes:g} minutes were used up before a "
            "trial ended; allow more"
        )
    raise InputError(
        f"all {len(failed)} trials failed, the last with: {failed[-1].user_attrs[ERROR]}; "
        f"move {file} away to begin a new search"
    )
