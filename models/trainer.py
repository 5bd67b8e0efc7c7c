"""The training loop: Transformers' Trainer with our losses and validation by ranking.

- Every validation renews all text vectors and solves the text map anew, then asks two questions:
  the validation part, and the probe items by their texts alone.
- The best weights by the mean of both NDCG@10 are kept in a file beside the checkpoints.
"""

import logging
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from models.bank import FinetunedModel, TextBank
from models.comparison import ask, judge
from models.dataset import Factors, History, Interactions
from models.network import TwoTowers
from models.serving import pad_histories
from models.splits import Trial
from models.task import FinetuneOptions, TrainingTask, profile_rows
from models.textmap import TextMap, solve_text_map

_log = logging.getLogger("nightrank.train")


class NdcgTrainer(Trainer):
    """The Trainer with our losses, two learning rates and validation by ranking.

    Validation asks two questions: the validation part, and the probe items by their texts alone.
    The best weights by the mean of both NDCG@10 are kept in a file beside the checkpoints.
    """

    def __init__(self, task: TrainingTask, options: FinetuneOptions, **arguments: Any) -> None:
        self.task = task
        self.options = options
        super().__init__(**arguments)
        self.best_file = Path(str(self.args.output_dir)) / "best.safetensors"
        self.best = -1.0
        probe = cast(FinetunedModel, self.model).probe.cpu().numpy()
        self.questions = {
            "validation": ask(task.split.tuning, task.profiles),
            "texts_alone": ask(probe_trial(task.split.tuning.train, probe), task.profiles),
        }

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002 (the Trainer's signature)
    ) -> Any:
        """Return the weighted loss of a batch."""
        outputs = model(inputs)
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def create_optimizer(self, *_: Any) -> torch.optim.Optimizer:
        """Make AdamW with a lower rate for the language model than for the towers."""
        model = cast(FinetunedModel, self.model)
        encoder = [p for p in model.bank.parameters() if p.requires_grad]
        heads = [*model.towers.parameters(), *model.student.parameters(), *model.mix.parameters()]
        groups: list[dict[str, Any]] = [{"params": heads, "lr": self.options.learning_rate}]
        if encoder:
            groups.append({"params": encoder, "lr": self.options.encoder_learning_rate})
        self.optimizer = torch.optim.AdamW(groups, weight_decay=self.options.weight_decay)
        return self.optimizer

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return NDCG@10 of both questions, with all texts encoded and the text map solved anew."""
        model = cast(FinetunedModel, self.model)
        was_training = model.training
        model.eval()
        model.bank.renew()
        apply_text_map(model, self.task, model.towers.known & ~model.probe)
        ndcg = {}
        for name, question in self.questions.items():
            without = model.probe & (name == "texts_alone")
            scorer = TorchScorer(model, self.task, self.options.history_length, without)
            answer = judge(question, scorer) if len(question.users) else None
            ndcg[name] = 0.0 if answer is None else float(answer.ndcg().mean())
        model.train(was_training)
        metrics = {f"eval_{name}": value for name, value in ndcg.items()}
        metrics["eval_ndcg@10"] = sum(ndcg.values()) / len(ndcg)
        self._keep_if_best(model, {**ndcg, "ndcg@10": metrics["eval_ndcg@10"]})
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _keep_if_best(self, model: FinetunedModel, metrics: dict[str, float]) -> None:
        if metrics["ndcg@10"] > self.best:
            self.best = metrics["ndcg@10"]
            self.best_file.parent.mkdir(parents=True, exist_ok=True)
            texts = {name: repr(value) for name, value in metrics.items()}
            save_file(model.state_dict(), self.best_file, texts)

    def load_best(self) -> dict[str, float]:
        """Give the model the best weights, of a resumed run's first part too; return its NDCG."""
        cast(FinetunedModel, self.model).load_state_dict(load_file(self.best_file))
        return self._metrics_of_best()

    def remember_best(self) -> None:
        """Take up the best of an interrupted run."""
        self.best = self._metrics_of_best()["ndcg@10"]

    def _metrics_of_best(self) -> dict[str, float]:
        with safe_open(self.best_file, "pt") as file:
            return {name: float(value) for name, value in file.metadata().items()}


def probe_trial(positives: Interactions, probe: NDArray[np.bool_]) -> Trial:
    """Return the question which of the `probe` items [n] users liked, knowing the others."""
    inside = probe[positives.item]
    return Trial(
        train=positives,
        given=positives.take(~inside),
        truth=positives.take(inside),
        labelled_train=positives,
        labelled_given=positives.take(~inside),
        labelled=positives.take(inside),
        candidates=np.flatnonzero(probe),
        clock=None,
        threshold=-np.inf,
    )


def apply_text_map(model: FinetunedModel, task: TrainingTask, known: Tensor) -> TextMap:
    """Solve the text map over the `known` items [n] and put it into the model."""
    targets = torch.cat([model.towers.own_ranking, model.towers.own_history], dim=1)
    solved = solve_text_map(
        model.bank.items.cpu().numpy(),
        task.columns,
        targets.cpu().numpy(),
        known.cpu().numpy(),
    )
    model.towers.set_text_maps((solved.weights, solved.bias))
    model.sums.copy_(torch.from_numpy(task.columns @ solved.attributes))
    return solved


class PlainProgress(TrainerCallback):
    """One line for each log entry, for logs that nobody watches."""

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Write the entry."""
        values = "  ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        _log.info("step %d/%d  %s", state.global_step, state.max_steps, values)


class TorchScorer:
    """Scores users with a model as it stands at construction, from the vectors in its bank."""

    @torch.no_grad()
    def __init__(
        self, model: FinetunedModel, task: TrainingTask, history_length: int, without: Tensor
    ) -> None:
        self._towers = model.towers
        self._vectors = model.bank.vectors
        self._ranking, self._history = model.item_factors(without)
        self._rows = profile_rows(task)
        self._threshold = task.threshold
        self._length = history_length

    @torch.no_grad()
    def __call__(self, histories: list[History], profiles: list[str]) -> Factors:
        """Return scores [u, n]."""
        vectors = self._vectors
        rows = torch.tensor([self._rows[profile] for profile in profiles], device=vectors.device)
        users = user_factors(
            self._towers, vectors[rows], self._history, histories, self._threshold, self._length
        )
        scores: Factors = (users @ self._ranking.T).cpu().numpy()
        return scores


def user_factors(
    towers: TwoTowers,
    profiles: Tensor,
    history_factors: Tensor,
    histories: list[History],
    threshold: float,
    length: int,
) -> Tensor:
    """Return the factors [u, d] of users who are asked right after their newest interaction.

    `profiles` [u, w] are their profiles' vectors; the newest `length` positives count.
    """
    arrays = pad_histories(histories, threshold, length, len(history_factors))
    items, ages = (torch.from_numpy(array).to(profiles.device) for array in arrays)
    idle = torch.zeros(len(profiles), device=profiles.device)
    return towers.user_factors(profiles, history_factors, items, ages, idle)


class GradualUnfreezing(TrainerCallback):
    """Opens the tuned layers one by one from the top, one every `epochs` passes."""

    def __init__(self, bank: TextBank, epochs: int) -> None:
        self._layers = bank.tuned_layers
        self._epochs = epochs

    def on_epoch_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the Trainer's signature)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Open as many layers as the passes so far allow."""
        opened = 1 + int(state.epoch or 0) // self._epochs
        for depth, layer in enumerate(reversed(self._layers)):
            layer.requires_grad_(depth < opened)


def training_arguments(
    options: FinetuneOptions, folder: Path, steps_of_an_epoch: int
) -> TrainingArguments:
    """Return the Trainer's arguments: a checkpoint at every validation."""
    steps = steps_of_an_epoch * options.epochs_between_validations
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_users,
        learning_rate=options.learning_rate,
        lr_scheduler_type="cosine",
        warmup_ratio=options.warmup_share,
        max_grad_norm=1.0,
        eval_strategy="steps",
        eval_steps=steps,
        save_strategy="steps",
        save_steps=steps,
        save_total_limit=2,
        metric_for_best_model="eval_ndcg@10",
        greater_is_better=True,
        logging_steps=steps,
        logging_dir=str(folder / "tensorboard"),
        report_to=["tensorboard"],
        disable_tqdm=not sys.stderr.isatty(),
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=options.seed,
        data_seed=options.seed,
        full_determinism=False,
    )
