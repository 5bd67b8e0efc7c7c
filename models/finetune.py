"""Fine-tuning: the language model and both towers together, for both tasks, in one loop.

- An example is a user, cut at a random point of the history: what came before makes the user's
  factors, what came after is the target (ranking) and the labels (interest).
- The softmax runs over the whole catalogue, whose vectors come from the text bank.
- Transformers' Trainer gives the loop, checkpoints that resume, early stopping and TensorBoard;
  the best checkpoint by validation NDCG@10 is kept.

Trade-off: a full softmax costs one product of the batch with the catalogue at every step, which
catalogues beyond some 100,000 items would have to sample.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import EarlyStoppingCallback, set_seed

from models.bank import FinetunedModel, LossWeights, TextBank
from models.collaborative import Start, collaborative_start
from models.dataset import Factors, Interactions
from models.encoder import TextEncoder
from models.examples import Collator, CutHistories, Labels
from models.network import TwoTowers
from models.task import FinetuneOptions, TrainingTask, profile_rows, user_rows
from models.textmap import TextMap, content_features
from models.trainer import NdcgTrainer, PlainProgress, apply_text_map, training_arguments


@dataclass(frozen=True)
class Finetuned:
    """The best model and its text map, the text vectors [t, w] from before, the trainer's log."""

    model: FinetunedModel
    text_map: TextMap
    pretrained_vectors: Factors
    curve: list[dict[str, float]]


def finetune(
    encoder: TextEncoder, task: TrainingTask, options: FinetuneOptions, folder: Path
) -> Finetuned:
    """Fine-tune and return the best model with its learning curve.

    At last the own factors are fitted to `task.positives` and the text map to all known items.
    Checkpoints go to `folder`; where it holds some of the same task, training resumes there.
    """
    # without, sums over gathered rows change with the threads' order; CUDA asks for the variable
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    set_seed(options.seed, deterministic=True)
    n_items, rows = len(task.item_texts), profile_rows(task)
    bank = TextBank(encoder, [*task.item_texts, *rows], n_items, options.tuned_layers)
    pretrained = bank.vectors.cpu().numpy().copy()
    start = _start(task, pretrained, task.trial.train, options.factors)
    towers = TwoTowers(encoder.width, start, options.own_dropout)
    weights = LossWeights(options.interest_weight, options.distillation_weight)
    model = FinetunedModel(bank, towers, _probe(start, options.seed), weights)
    trainer = _trainer(model, task, options, folder)
    resumed = any(folder.glob("checkpoint-*"))
    if resumed:
        trainer.remember_best()
    else:
        trainer.evaluate()
    trainer.train(resume_from_checkpoint=resumed or None)
    trainer.load_best()
    model.eval()
    bank.renew()
    towers.set_own(_start(task, bank.vectors.cpu().numpy(), task.positives, options.factors))
    text_map = apply_text_map(model, task, towers.known)
    return Finetuned(model, text_map, pretrained, [dict(e) for e in trainer.state.log_history])


def _trainer(
    model: FinetunedModel, task: TrainingTask, options: FinetuneOptions, folder: Path
) -> NdcgTrainer:
    examples = CutHistories(task.labelled, task.threshold)
    return NdcgTrainer(
        task,
        options,
        model=model,
        args=training_arguments(options, folder, len(examples)),
        train_dataset=examples,
        eval_dataset=[],
        data_collator=Collator(
            model.bank.item_lengths,
            user_rows(task),
            Labels(task.threshold),
            options.history_length,
            options.bucket_items,
        ),
        callbacks=[
            EarlyStoppingCallback(options.patience),
            *([] if sys.stderr.isatty() else [PlainProgress()]),
        ],
    )


def _start(task: TrainingTask, vectors: Factors, positives: Interactions, factors: int) -> Start:
    content = content_features(vectors[: len(task.item_texts)], task.columns)
    return collaborative_start(positives, content, vectors[user_rows(task)], factors)


def _probe(start: Start, seed: int) -> Tensor:
    """Choose a tenth of the known items [n]."""
    known = np.flatnonzero(start.known)
    chosen = np.random.default_rng(seed).permutation(known)[: len(known) // 10]
    probe = torch.zeros(len(start.known), dtype=torch.bool)
    probe[torch.from_numpy(chosen)] = True
    return probe
