"""Fine-tuning: the language model is trained to predict from texts what interactions say of items.

- The closed-form factors are fitted first. A step withholds those of one bucket of items and
  predicts them from the texts. The losses compare the prediction with the teacher's factors
  (distillation), rank the items for users who like them (softmax over the whole catalogue), and
  predict what users thought of them (interest, rating).
- Transformers' Trainer gives the loop, checkpoints that resume, early stopping and TensorBoard. The
  best weights by validation NDCG@10 are kept, which may be those of the start.
- A step that doesn't fit into memory is halved until it does. A loss that is not finite ends the
  training at once, with the best weights so far.

Trade-off: a full softmax multiplies the batch with the whole catalogue at every step; above 20,000
items it is estimated from drawn ones.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.utils.memory import should_reduce_batch_size
from transformers import TrainerCallback, set_seed

from models.data.arrays import Factors
from models.data.interactions import Interactions
from models.errors import InputError
from models.evaluation.interest import Interest, fit_interest
from models.evaluation.question import ask
from models.factors.fitted_with import FittedWith
from models.factors.start import Algorithms
from models.factors.text_map import TextMap
from models.network.encoder import TextEncoder
from models.network.retention import likeness, retention
from models.nights.fit_choice import choose_fit
from models.objective.bank import FinetunedModel
from models.objective.preparation import begin_at_ridge, closed_form_start, recipe_of
from models.objective.pseudo_labels import with_pseudo_labels
from models.objective.task import TrainingTask
from models.objective.torch_scorer import apply_text_map, torch_scorer
from models.training.assembly import adapted, model_under_losses, text_bank, training_loop
from models.training.options import FinetuneOptions
from models.training.sharding import unshard
from models.training.trainer import DivergedError, NdcgTrainer, check_precision

_log = logging.getLogger("nightrank.train")


@dataclass(frozen=True)
class Finetuned:
    """The best model, its validation metrics, and whatever else a version's files are written from.

    `pretrained_vectors` [t, w] are those before the training, `curve` is the trainer's log,
    `fitted_with` what the data chose for the closed form.
    """

    model: FinetunedModel
    metrics: dict[str, float]
    text_map: TextMap
    interest: Interest
    pretrained_vectors: Factors
    curve: list[dict[str, float]]
    fitted_with: FittedWith


def finetune(
    encoder: TextEncoder,
    task: TrainingTask,
    options: FinetuneOptions,
    folder: Path,
    beside: Sequence[TrainerCallback] = (),
) -> Finetuned:
    """Fine-tune and return the best model with its learning curve.

    After the training, the own factors are fitted to the final training part and the text map to
    all known items. Checkpoints go to `folder`; where it has some of the same task, training
    resumes. `beside` are further callbacks.
    """
    # without, sums over gathered rows change with the threads' order; CUDA asks for the variable
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    set_seed(options.seed, deterministic=True)
    check_precision(options.loop.precision)
    general = likeness(encoder)
    adaptation = adapted(encoder, options)
    bank = text_bank(adaptation, task, options)
    pretrained = bank.vectors.cpu().numpy().copy()
    length = options.examples.history_length
    recipe = recipe_of(task, pretrained, options.start.factors, length)
    fit = choose_fit(recipe, task.split.tuning, task.profiles, Algorithms())
    known, repeats = task.split.final.labelled_train, task.split.final.repeats
    choice = recipe.weights(known, task.threshold, fit.algorithms, repeats)
    model = model_under_losses(bank, task, options, choice.algorithms)
    begin_at_ridge(model, task)
    trainer = _trained(model, task, options, folder, beside)
    metrics = trainer.load_best() | trainer.failures | fit.metrics() | choice.metrics()
    trained = sum(weight.numel() for weight in adaptation.weights())
    adaptation.merge()
    if options.loop.sharding:
        unshard(encoder)
    metrics |= retention(general, likeness(encoder))
    metrics["trained_parameters"] = trained
    curve = [dict(entry) for entry in trainer.state.log_history]
    interest, text_map = _closed_form(model, task, options, choice.algorithms)
    fitted_with = choice.algorithms.fitted_with
    return Finetuned(model, metrics, text_map, interest, pretrained, curve, fitted_with)


def _trained(
    model: FinetunedModel,
    task: TrainingTask,
    options: FinetuneOptions,
    folder: Path,
    beside: Sequence[TrainerCallback],
) -> NdcgTrainer:
    """Train to the end, and return the trainer, which has the file of the best weights."""
    trainer = training_loop(model, task, _labels(model, task, options), options, folder)
    for callback in beside:
        trainer.callback_handler.add_callback(callback)
    resumed = any(folder.glob("checkpoint-*"))
    if resumed:
        trainer.remember_best()
    else:
        trainer.evaluate()
    try:
        trainer.train(resume_from_checkpoint=resumed or None)
    except DivergedError as error:
        _log.error("%s: stopped, and the best weights so far are kept", error)
        trainer.failures["diverged_at_step"] = trainer.state.global_step + 1
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        trainer.load_best()
        return _trained(model, task, _halved(options), _emptied(folder), beside)
    return trainer


def _labels(model: FinetunedModel, task: TrainingTask, options: FinetuneOptions) -> Interactions:
    """Return the labelled interactions that the language model learns from."""
    examples = options.examples
    if not examples.pseudo_label_confidence:
        return task.split.tuning.labelled_train
    apply_text_map(model, task, model.towers.known & ~model.withheld)
    scorer = torch_scorer(model, task, examples.history_length, torch.zeros_like(model.withheld))
    items = model.bank.items.cpu().numpy()
    return with_pseudo_labels(task, scorer, items, examples.pseudo_label_confidence)


def _halved(options: FinetuneOptions) -> FinetuneOptions:
    """Return options with half the users and items in a step; InputError where it has one each."""
    users, items = options.examples.batch_users, options.examples.bucket_items
    if users == items == 1:
        raise InputError(
            "settings `batch_users`, `bucket_items`: not even one user and one item fit into memory"
        )
    users, items = max(1, users // 2), max(1, items // 2)
    _log.warning("out of memory: trying again with %d users and %d items a step", users, items)
    smaller = {"batch_users": users, "bucket_items": items}
    return options.model_copy(update={"examples": options.examples.model_copy(update=smaller)})


def _emptied(folder: Path) -> Path:
    """Remove the checkpoints, whose steps had another size, and return the folder."""
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return folder


def _closed_form(
    model: FinetunedModel, task: TrainingTask, options: FinetuneOptions, algorithms: Algorithms
) -> tuple[Interest, TextMap]:
    """Calibrate interest on validation, then fit the closed-form parts to the final split."""
    model.eval()
    model.bank.renew()
    towers, split, columns = model.towers, task.split, task.columns
    vectors = model.bank.vectors.cpu().numpy()
    items = vectors[: model.bank.n_items]
    apply_text_map(model, task, towers.known)
    length = options.examples.history_length
    nothing = torch.zeros_like(model.withheld)
    scorer = torch_scorer(model, task, length, nothing, split.tuning.clock)
    interest = fit_interest(ask(split.tuning, task.profiles), scorer, items, columns)
    final_train, factors = split.final.labelled_train, options.start.factors
    towers.set_own(closed_form_start(task, vectors, final_train, factors, algorithms))
    text_map = apply_text_map(model, task, towers.known)
    final = Interest.fit(interest.coefficients, final_train, task.threshold, items, columns)
    return final, text_map
