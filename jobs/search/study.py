"""The study of `tune`: trials in an SQLite file, so that a search that was killed can continue.

- One file holds one search. It stores what all trials share (settings, table versions, code,
  space) and is refused when that has changed, because trials could not be compared.
- A trial counts when it has ended: complete, pruned, or failed by its own error. A trial whose
  process died or whose time was up starts again with the same settings, and counts then.
- The sampler's seed is the number of trials that count, so a search that was killed proposes the
  same settings as one that was not (TPE: Bergstra et al., "Algorithms for hyper-parameter
  optimization", NIPS 2011).

Trade-off: SQLite and one trial at a time, so the warehouse must be local and a search is one
process.
"""

import logging
from pathlib import Path
from time import monotonic
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from models.errors import InputError

LOGGER = logging.getLogger("nightrank.tune")

NAME = "nightrank"
CONFIGURED, ERROR, _IN_COMMON = "configured", "error", "in_common"
METRIC = "eval_ndcg@10"


class TimeIsUpError(Exception):
    """The search has used up its minutes."""


def open_study(file: Path, in_common: dict[str, Any], configured: dict[str, Any]) -> optuna.Study:
    """Return the study in `file`, a new one if there is none; interrupted trials are queued again.

    `in_common` is what the trials share (name -> value), `configured` the settings of the first.
    Raises InputError that names the file and what differs, or why it can't be read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _load(file)
    kept = study.user_attrs.get(_IN_COMMON)
    if kept is None:
        study.set_user_attr(_IN_COMMON, in_common)
    elif kept != in_common:
        other = next(n for n in {**in_common, **kept} if kept.get(n) != in_common.get(n))
        raise InputError(
            f"{file} holds a search with another {other} ({kept.get(other)}, now "
            f"{in_common.get(other)}): move it away to begin a new search"
        )
    if not study.trials:
        study.enqueue_trial(configured, user_attrs={CONFIGURED: True})
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        LOGGER.info("trial %d was interrupted and is begun again", trial.number)
        begin_again(study, trial, configured)
    return study


def _load(file: Path) -> optuna.Study:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return optuna.create_study(
            storage=f"sqlite:///{file.resolve()}",
            study_name=NAME,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=1),  # 0: before the training
            load_if_exists=True,
        )
    except (RuntimeError, SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        why = str(error).splitlines()[0]
        raise InputError(
            f"{file} can't be read as a search ({why}): move it away to begin a new search"
        ) from error


def begin_again(
    study: optuna.Study, trial: Trial | FrozenTrial, configured: dict[str, Any]
) -> None:
    """End a trial without counting it, and queue its settings for the next one."""
    # queued first: a process that dies between the two runs a trial twice, and loses none
    parameters = configured if CONFIGURED in trial.user_attrs else trial.params
    study.enqueue_trial(parameters, user_attrs=trial.user_attrs)
    study.tell(trial.number, state=TrialState.FAIL)


def ask(study: optuna.Study, space: dict[str, BaseDistribution], seed: int) -> Trial:
    """Return the next trial with its settings: a queued one, or else a new proposal."""
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(ended(study)))
    return study.ask(space)


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count, in order."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or ERROR in trial.user_attrs
    ]


class TrialWatch(TrainerCallback):
    """Reports NDCG to a trial at every validation, and stops a training that isn't worth its time.

    Raises TrialPruned where the pruner says so, and TimeIsUpError from `deadline` on (seconds of
    the monotonic clock).
    """

    def __init__(self, trial: Trial, deadline: float) -> None:
        self._trial = trial
        self._deadline = deadline
        self._told: set[int] = set()

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Report by epoch: steps differ between trials."""
        epoch = round(state.epoch or 0)
        if metrics is None or epoch in self._told:  # begun anew with less memory
            return
        self._told.add(epoch)
        self._trial.report(metrics[METRIC], epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned(f"below the median after {epoch} epochs")

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,  # noqa: ARG002
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Look at the clock."""
        if monotonic() >= self._deadline:
            raise TimeIsUpError
