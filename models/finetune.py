"""Fine-tuning: the language model learns to stand in for what interactions say.

- The closed-form factors are fitted first. A step withholds those of one bucket of items, and the
  language model makes up for them: for the teacher's factors (distillation), for users who like
  the items (softmax over the whole catalogue), for what users thought of them (interest, rating).
- The teacher: the principal axes of the scores that the closed form gives to the training users,
  so that a direction counts as much as it matters to somebody's ranking.
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
from scipy import sparse
from torch import Tensor
from transformers import EarlyStoppingCallback, TrainerCallback, set_seed

from models.bank import FinetunedModel, TextBank
from models.collaborative import Start, collaborative_start
from models.comparison import ask
from models.dataset import Factors, Interactions, Rows, histories
from models.encoder import TextEncoder
from models.examples import Collator, CutHistories, Labels
from models.interest import Interest, fit_interest
from models.losses import LossMix
from models.network import TwoTowers, unit
from models.task import FinetuneOptions, TrainingTask, profile_rows, user_rows
from models.textmap import TextMap, content_features, solve_text_map
from models.texts import length_buckets
from models.trainer import (
    GradualUnfreezing,
    NdcgTrainer,
    PlainProgress,
    TorchScorer,
    apply_text_map,
    training_arguments,
    user_factors,
)

TEACHER_FACTORS, TEACHER_USERS = 64, 4096
PROBE_SHARE = 5


@dataclass(frozen=True)
class Finetuned:
    """The best model and its validation NDCG, and all that a version is made of.

    `pretrained_vectors` [t, w] are those from before, `curve` is the trainer's log.
    """

    model: FinetunedModel
    metrics: dict[str, float]
    text_map: TextMap
    interest: Interest
    pretrained_vectors: Factors
    curve: list[dict[str, float]]


def finetune(
    encoder: TextEncoder, task: TrainingTask, options: FinetuneOptions, folder: Path
) -> Finetuned:
    """Fine-tune and return the best model with its learning curve.

    At last the own factors are fitted to the final training part and the text map to all known
    items. Checkpoints go to `folder`; where it holds some of the same task, training resumes.
    """
    # without, sums over gathered rows change with the threads' order; CUDA asks for the variable
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    set_seed(options.seed, deterministic=True)
    n_items, rows = len(task.item_texts), profile_rows(task)
    bank = TextBank(encoder, [*task.item_texts, *rows], n_items, options.tuned_layers)
    pretrained = bank.vectors.cpu().numpy().copy()
    start = _start(task, pretrained, task.split.tuning.train, options.factors)
    towers = TwoTowers(encoder.width, start)
    mix = LossMix(options.loss_weights, options.learned_weights)
    teacher = _teacher(task, towers, bank, options.history_length)
    model = FinetunedModel(
        bank, towers, _probe(start, task.split.tuning.train, options.seed), teacher, mix
    )
    _begin_at_ridge(model, task)
    trainer = _trainer(model, task, options, folder)
    resumed = any(folder.glob("checkpoint-*"))
    if resumed:
        trainer.remember_best()
    else:
        trainer.evaluate()
    trainer.train(resume_from_checkpoint=resumed or None)
    metrics = trainer.load_best()
    curve = [dict(entry) for entry in trainer.state.log_history]
    interest, text_map = _closed_form(model, task, options)
    return Finetuned(model, metrics, text_map, interest, pretrained, curve)


def _closed_form(
    model: FinetunedModel, task: TrainingTask, options: FinetuneOptions
) -> tuple[Interest, TextMap]:
    """Calibrate interest on validation, then fit all that is closed form to the final part."""
    model.eval()
    model.bank.renew()
    towers, split, columns = model.towers, task.split, task.columns
    vectors = model.bank.vectors.cpu().numpy()
    items = vectors[: model.bank.n_items]
    apply_text_map(model, task, towers.known)
    scorer = TorchScorer(model, task, options.history_length, torch.zeros_like(model.probe))
    interest = fit_interest(ask(split.tuning, task.profiles), scorer, items, columns)
    towers.set_own(_start(task, vectors, split.final.train, options.factors))
    text_map = apply_text_map(model, task, towers.known)
    final = Interest.fit(
        interest.coefficients, split.final.labelled_train, task.threshold, items, columns
    )
    return final, text_map


def _trainer(
    model: FinetunedModel, task: TrainingTask, options: FinetuneOptions, folder: Path
) -> NdcgTrainer:
    labelled, buckets = task.split.tuning.labelled_train, _buckets(model, options.bucket_items)
    examples = CutHistories(labelled, task.threshold, len(buckets) * options.batch_users)
    callbacks: list[TrainerCallback] = [EarlyStoppingCallback(options.patience)]
    if options.unfreeze_epochs:
        callbacks.append(GradualUnfreezing(model.bank, options.unfreeze_epochs))
    if not sys.stderr.isatty():
        callbacks.append(PlainProgress())
    return NdcgTrainer(
        task,
        options,
        model=model,
        args=training_arguments(options, folder, len(buckets)),
        train_dataset=examples,
        eval_dataset=[],
        data_collator=Collator(
            buckets,
            user_rows(task),
            Labels.of(labelled, task.threshold),
            options.history_length,
            model.bank.n_items,
        ),
        callbacks=callbacks,
    )


def _buckets(model: FinetunedModel, size: int) -> list[Rows]:
    """Return the items that texts can learn from, known and no probe, by text length."""
    rows = np.flatnonzero((model.towers.known & ~model.probe).cpu().numpy())
    lengths = np.asarray(model.bank.lengths)[rows]
    return [rows[bucket] for bucket in length_buckets(lengths.tolist(), size)]


@torch.no_grad()
def _teacher(task: TrainingTask, towers: TwoTowers, bank: TextBank, length: int) -> Factors:
    """Return the teacher's factors [n, t] of the items, of mean zero and mean square length one."""
    train = task.split.tuning.train
    everyone = np.unique(train.user)
    some = everyone[:: -(-len(everyone) // TEACHER_USERS)]
    scatter = torch.zeros(towers.own_ranking.shape[1], towers.own_ranking.shape[1])
    rows = torch.from_numpy(user_rows(task))
    for users in np.array_split(some, -(-len(some) // 64)):
        profiles = bank.vectors[rows[torch.from_numpy(users)]]
        past = histories(train, users)
        factors = user_factors(towers, profiles, towers.own_history, past, task.threshold, length)
        scatter += (unit(factors).T @ unit(factors)).cpu()
    values, axes = np.linalg.eigh(scatter.numpy())
    kept = axes[:, -TEACHER_FACTORS:] * np.sqrt(np.maximum(values[-TEACHER_FACTORS:], 0.0))
    factors_of_items = towers.own_ranking.cpu().numpy() @ kept
    known = towers.known.cpu().numpy()
    centred = factors_of_items - factors_of_items[known].mean(axis=0)
    scale = np.sqrt((centred[known] ** 2).sum(axis=1).mean())
    return np.asarray(centred / max(float(scale), 1e-9), dtype=np.float32)


@torch.no_grad()
def _begin_at_ridge(model: FinetunedModel, task: TrainingTask) -> None:
    """Start the student where ridge regression from the pretrained vectors ends."""
    learned = (model.towers.known & ~model.probe).cpu().numpy()
    texts_alone = sparse.csr_array(np.zeros((len(task.item_texts), 0), dtype=np.float32))
    vectors, teacher = model.bank.items.cpu().numpy(), model.teacher.cpu().numpy()
    ridge = solve_text_map(vectors, texts_alone, teacher, learned)
    model.student.weight.copy_(torch.from_numpy(ridge.weights.T))
    model.student.bias.copy_(torch.from_numpy(ridge.bias))


def _start(task: TrainingTask, vectors: Factors, positives: Interactions, factors: int) -> Start:
    content = content_features(vectors[: len(task.item_texts)], task.columns)
    return collaborative_start(positives, content, vectors[user_rows(task)], factors)


def _probe(start: Start, positives: Interactions, seed: int) -> Tensor:
    """Choose one of every `PROBE_SHARE` known items [n], neighbours in popularity."""
    counts = np.bincount(positives.item, minlength=len(start.known))
    ranked = np.argsort(-counts, kind="stable")[: int(start.known.sum())]
    groups = np.array_split(ranked, max(1, len(ranked) // PROBE_SHARE))
    generator = np.random.default_rng(seed)
    probe = torch.zeros(len(start.known), dtype=torch.bool)
    probe[torch.from_numpy(np.array([generator.choice(group) for group in groups]))] = True
    return probe
