"""Fine-tuning: the language model and both towers together, for both tasks, in one loop.

- An example is a user, cut at a random point of the history: what came before makes the user's
  factors, what came after is the target (ranking) and the labels (interest).
- The softmax runs over the whole catalogue, whose vectors come from the text bank.
- Transformers' Trainer gives the loop, checkpoints that resume, early stopping and TensorBoard;
  the best checkpoint by validation NDCG@10 is kept.

Trade-off: a full softmax costs one product of the batch with the catalogue at every step, which
catalogues beyond some 100,000 items would have to sample.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from models.bank import FinetunedModel, TextBank
from models.comparison import ask, judge
from models.dataset import Factors, History, Interactions
from models.encoder import TextEncoder
from models.examples import Collator, CutHistories, Labels
from models.network import Start, TwoTowers
from models.serving import pad_histories
from models.splits import Trial

_log = logging.getLogger("nightrank.train")


@dataclass(frozen=True)
class FinetuneOptions:
    """What the training loop needs to know; the settings of the same names explain them."""

    epochs: int
    batch_users: int
    bucket_items: int
    learning_rate: float
    encoder_learning_rate: float
    weight_decay: float
    warmup_share: float
    patience: int
    epochs_between_validations: int
    tuned_layers: int
    part_dropout: float
    interest_weight: float
    history_length: int
    seed: int


@dataclass(frozen=True)
class TrainingTask:
    """The data of one fine-tune.

    `labelled` holds every interaction of the training part, `trial` is the validation question;
    `item_texts` stand in catalogue order, `profiles` [u] are the users' texts.
    """

    item_texts: Sequence[str]
    profiles: Sequence[str]
    labelled: Interactions
    trial: Trial
    threshold: float
    start: Start


@dataclass(frozen=True)
class Finetuned:
    """The best model, the text vectors [t, w] from before, and the trainer's log."""

    model: FinetunedModel
    pretrained_vectors: Factors
    curve: list[dict[str, float]]


class NdcgTrainer(Trainer):
    """The Trainer with our loss, three learning rates and validation by ranking."""

    def __init__(self, task: TrainingTask, options: FinetuneOptions, **arguments: Any) -> None:
        self.task = task
        self.options = options
        self.question = ask(task.trial, task.profiles)
        super().__init__(**arguments)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the weighted loss of a batch."""
        outputs = model(inputs)
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def create_optimizer(self, *_: Any) -> torch.optim.Optimizer:
        """Make AdamW with a lower rate for the language model than for the towers."""
        model = cast(FinetunedModel, self.model)
        encoder = [p for p in model.bank.parameters() if p.requires_grad]
        decay = self.options.weight_decay
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(model.towers.parameters()), "lr": self.options.learning_rate},
                {"params": encoder, "lr": self.options.encoder_learning_rate},
            ],
            weight_decay=decay,
        )
        return self.optimizer

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return NDCG@10 on the validation part, with every text encoded anew."""
        model = cast(FinetunedModel, self.model)
        was_training = model.training
        model.eval()
        model.bank.renew()
        scorer = TorchScorer(model, self.task, self.options.history_length)
        ndcg = float(judge(self.question, scorer).ndcg().mean())
        model.train(was_training)
        metrics = {"eval_ndcg@10": ndcg}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


class PlainProgress(TrainerCallback):
    """One line for each log entry, for logs that nobody watches."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Write the entry."""
        values = "  ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        _log.info("step %d/%d  %s", state.global_step, state.max_steps, values)


class TorchScorer:
    """Scores users with a model under training, from the vectors in its bank."""

    def __init__(self, model: FinetunedModel, task: TrainingTask, history_length: int) -> None:
        self._model = model
        self._rows = profile_rows(task)
        self._threshold = task.threshold
        self._length = history_length

    @torch.no_grad()
    def __call__(self, histories: list[History], profiles: list[str]) -> Factors:
        """Return scores [u, n]."""
        vectors, n_items = self._model.bank.vectors, self._model.bank.n_items
        ranking, history, _ = self._model.towers.item_factors(vectors[:n_items])
        arrays = pad_histories(histories, self._threshold, self._length, n_items)
        items, ages = (torch.from_numpy(array).to(vectors.device) for array in arrays)
        rows = torch.tensor([self._rows[profile] for profile in profiles], device=vectors.device)
        users = self._model.towers.user_factors(vectors[rows], history, items, ages)
        scores: Factors = (users @ ranking.T).cpu().numpy()
        return scores


def profile_rows(task: TrainingTask) -> dict[str, int]:
    """Return the bank's row of each distinct profile; they follow the items."""
    first = len(task.item_texts)
    return {profile: first + i for i, profile in enumerate(sorted(set(task.profiles)))}


def finetune(
    encoder: TextEncoder, task: TrainingTask, options: FinetuneOptions, folder: Path
) -> Finetuned:
    """Fine-tune and return the best model with its learning curve.

    Checkpoints go to `folder`; where it holds some of the same task, training resumes there.
    """
    set_seed(options.seed)
    n_items, rows = len(task.item_texts), profile_rows(task)
    bank = TextBank(encoder, [*task.item_texts, *rows], n_items, options.tuned_layers)
    pretrained = bank.vectors.cpu().numpy().copy()
    towers = TwoTowers(encoder.width, task.start, options.part_dropout)
    towers.start_from_text(bank.vectors[:n_items], ridge=1.0)
    model = FinetunedModel(bank, towers, options.interest_weight)
    examples = CutHistories(task.labelled, task.threshold)
    trainer = NdcgTrainer(
        task,
        options,
        model=model,
        args=_arguments(options, folder, len(examples)),
        train_dataset=examples,
        eval_dataset=[],
        data_collator=Collator(
            bank.item_lengths,
            np.array([rows[profile] for profile in task.profiles]),
            Labels(task.threshold),
            options.history_length,
            options.bucket_items,
        ),
        callbacks=[EarlyStoppingCallback(options.patience)],
    )
    if not sys.stderr.isatty():
        trainer.add_callback(PlainProgress())
    some = [examples[row] for row in range(min(len(examples), 128))]
    _set_temperature(model, trainer.data_collator(some))
    resumable = any(folder.glob("checkpoint-*"))
    trainer.evaluate()
    trainer.train(resume_from_checkpoint=resumable or None)
    bank.renew()
    return Finetuned(model.eval(), pretrained, [dict(e) for e in trainer.state.log_history])


@torch.no_grad()
def _set_temperature(model: FinetunedModel, batch: dict[str, Tensor]) -> None:
    """Stretch the scores that training starts from to the scale that predicts `batch` best.

    Closed-form scores rank well but are small, and a softmax over them is nearly flat.
    """
    model.eval()
    losses = {factor: 0.0 for factor in (2.0**power for power in range(10))}
    before = 1.0
    for factor in losses:
        model.towers.stretch(factor / before)
        losses[factor], before = float(model(batch)["ranking"]), factor
    model.towers.stretch(min(losses, key=losses.__getitem__) / before)
    _log.info("losses by temperature: %s", losses)


def _arguments(options: FinetuneOptions, folder: Path, n_examples: int) -> TrainingArguments:
    steps = max(1, -(-n_examples // options.batch_users)) * options.epochs_between_validations
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
        load_best_model_at_end=True,
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
