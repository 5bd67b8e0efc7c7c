"""The training loop: Transformers' Trainer with our losses and validation by ranking.

- Every validation renews all text vectors and solves the text map anew, then asks two questions:
  the validation part, and the withheld items by their texts alone.
- The best weights by the mean of both NDCG@10 are kept in a file beside the checkpoints.
"""

import logging
import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Trainer, TrainingArguments

from models.errors import InputError
from models.evaluation.question import ask, mean_ndcg
from models.evaluation.texts_alone import withheld_trial
from models.network.processes import rank
from models.objective.bank import FinetunedModel
from models.objective.examples import StepLoader
from models.objective.task import TrainingTask
from models.objective.torch_scorer import apply_text_map, torch_scorer
from models.training.options import FinetuneOptions, LoopOptions
from models.training.sharding import load_whole, whole_state

_log = logging.getLogger("nightrank.train")

MOMENTUM, SAMPLES, LONGEST_GRADIENT = 0.9, 16, 1.0
Objective = Callable[[torch.nn.Module, dict[str, Tensor]], dict[str, Tensor]]


class DivergedError(Exception):
    """The loss is no longer finite."""


class NdcgTrainer(Trainer):
    """The Trainer with our losses, two learning rates and validation by ranking.

    Validation asks two questions: the validation part, and the withheld items by their texts alone.
    The best weights by the mean of both NDCG@10 are kept in a file beside the checkpoints.
    """

    def __init__(
        self,
        task: TrainingTask,
        options: FinetuneOptions,
        objective: Objective,
        steps: StepLoader,
        **arguments: Any,
    ) -> None:
        self.task = task
        self.options = options
        self._objective = objective
        self._steps = steps
        self.failures: dict[str, float] = {}
        self._terms: defaultdict[str, list[Tensor]] = defaultdict(list)
        super().__init__(**arguments)
        self.best_file = Path(str(self.args.output_dir)) / "best.safetensors"
        self.best = -1.0
        withheld = cast(FinetunedModel, self.model).withheld.cpu().numpy()
        self.questions = {
            "validation": ask(task.split.tuning, task.profiles),
            "texts_alone": ask(withheld_trial(task.split.tuning, withheld), task.profiles),
        }

    def get_train_dataloader(self) -> StepLoader:
        """Return the steps as they are: every process takes its users of each by itself."""
        return self._steps

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002 (the Trainer's signature)
    ) -> Any:
        """Return the weighted loss of a step; DivergedError where it is not finite."""
        outputs = self._objective(model, inputs)
        for name, value in outputs.items():
            if name != "loss":
                self._terms[name].append(value)
        if not math.isfinite(float(outputs["loss"].detach())):
            raise DivergedError(f"the loss of step {self.state.global_step + 1} is no number")
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """Log an entry; one with a loss also gets the mean of each term since the last entry."""
        if "loss" in logs:
            means = {f"loss_{name}": float(torch.stack(v).mean()) for name, v in
                     self._terms.items()}  # fmt: skip
            logs = {**logs, **means}
            self._terms.clear()
        super().log(logs, *rest)

    def create_optimizer(self, *_: Any) -> torch.optim.Optimizer:
        """Make the optimiser, with a lower rate for the language model than for the towers."""
        model, loop = cast(FinetunedModel, self.model), self.options.loop
        encoder = model.bank.adaptation.weights()
        heads = [*model.towers.parameters(), *model.student.parameters(), *model.mix.parameters()]
        groups: list[dict[str, Any]] = [{"params": heads, "lr": loop.learning_rate}]
        if encoder:
            rate = loop.encoder_learning_rate * model.bank.adaptation.rate
            groups.append({"params": encoder, "lr": rate})
        if loop.optimiser == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(
                groups, momentum=MOMENTUM, weight_decay=loop.weight_decay
            )
        else:
            self.optimizer = torch.optim.AdamW(groups, weight_decay=loop.weight_decay)
        return self.optimizer

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return NDCG@10 of both questions, with all texts encoded and the text map solved anew."""
        model = cast(FinetunedModel, self.model)
        was_training = model.training
        model.eval()
        model.bank.renew()
        apply_text_map(model, self.task, model.towers.known & ~model.withheld)
        length, ndcg = self.options.examples.history_length, {}
        for name, question in self.questions.items():
            without = model.withheld & (name == "texts_alone")
            scorer = torch_scorer(model, self.task, length, without, question.trial.clock)
            ndcg[name] = mean_ndcg(question, scorer)
        model.train(was_training)
        metrics = {f"eval_{name}": value for name, value in ndcg.items()}
        metrics["eval_ndcg@10"] = sum(ndcg.values()) / len(ndcg)
        self._keep_if_best(model, {**ndcg, "ndcg@10": metrics["eval_ndcg@10"]})
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    @torch.no_grad()
    def samples(self) -> list[tuple[str, int]]:
        """Return withheld items' texts, with the rank of each by its text for one who liked it."""
        model, question = cast(FinetunedModel, self.model), self.questions["texts_alone"]
        length = self.options.examples.history_length
        scorer = torch_scorer(model, self.task, length, model.withheld)
        some = slice(SAMPLES)
        scores = scorer(question.histories[some], question.profiles[some])
        candidates = question.trial.candidates
        found = []
        for row, own in enumerate(scores):
            liked = question.truth[[row]].indices[0]
            better = int((own[candidates] > own[liked]).sum())
            found.append((self.task.item_texts[liked], better + 1))
        return found

    def _keep_if_best(self, model: FinetunedModel, metrics: dict[str, float]) -> None:
        if metrics["ndcg@10"] > self.best:
            self.best = metrics["ndcg@10"]
            state = whole_state(model)
            if rank() > 0:
                return
            self.best_file.parent.mkdir(parents=True, exist_ok=True)
            texts = {name: repr(value) for name, value in metrics.items()}
            save_file(state, self.best_file, texts)

    def load_best(self) -> dict[str, float]:
        """Load the best weights, also those of an interrupted run; return their metrics."""
        self.accelerator.wait_for_everyone()
        load_whole(cast(FinetunedModel, self.model), load_file(self.best_file))
        return self._metrics_of_best()

    def remember_best(self) -> None:
        """Restore the best NDCG of an interrupted run."""
        self.best = self._metrics_of_best()["ndcg@10"]

    def _metrics_of_best(self) -> dict[str, float]:
        with safe_open(self.best_file, "pt") as file:
            return {name: float(value) for name, value in file.metadata().items()}


def check_precision(precision: str) -> None:
    """Raise InputError where the device can't compute in `precision`."""
    cuda = torch.cuda.is_available()
    if precision == "fp16" and not cuda:
        raise InputError(
            "setting `precision`: fp16 needs a CUDA device, and there is none; choose fp32 or bf16"
        )
    if precision == "bf16" and cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(
            f"setting `precision`: {torch.cuda.get_device_name()} has no bf16; choose fp32 or fp16"
        )


def training_arguments(
    options: FinetuneOptions, folder: Path, steps_of_an_epoch: int
) -> TrainingArguments:
    """Return the Trainer's arguments: a checkpoint at every validation."""
    loop = options.loop
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no"  # else fp32 keeps an earlier training's bf16
    updates = -(-steps_of_an_epoch // loop.accumulated_steps)
    steps = updates * loop.epochs_between_validations
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=loop.epochs,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=loop.accumulated_steps,
        gradient_checkpointing=False,  # set on the tuned layers alone
        bf16=loop.precision == "bf16",
        fp16=loop.precision == "fp16",
        learning_rate=loop.learning_rate,
        lr_scheduler_type="cosine",
        warmup_ratio=loop.warmup_share,
        max_grad_norm=0.0 if loop.sharding else LONGEST_GRADIENT,
        eval_strategy="steps",
        eval_steps=steps,
        save_strategy="no" if loop.sharding else "steps",
        save_steps=steps,
        save_total_limit=2,
        metric_for_best_model="eval_ndcg@10",
        greater_is_better=True,
        logging_steps=steps,
        logging_dir=str(folder / "tensorboard"),
        report_to=_reporters(loop),
        disable_tqdm=not sys.stderr.isatty(),
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        use_cpu=not torch.cuda.is_available(),
        ddp_backend="gloo" if loop.processes > 1 and not torch.cuda.is_available() else None,
        ddp_find_unused_parameters=True,
        ddp_broadcast_buffers=False,
        seed=options.seed,
        data_seed=options.seed,
    )


def _reporters(loop: LoopOptions) -> list[str]:
    """Return the names of those who are told; InputError where one isn't installed."""
    if loop.tracking == "wandb":
        if find_spec("wandb") is None:
            raise InputError("setting `tracking`: wandb isn't installed; `uv pip install wandb`")
        os.environ.setdefault("WANDB_MODE", "offline")
        return ["tensorboard", "wandb"]
    return ["tensorboard"]
