"""The parts of a fine-tune, built from its options: the model with its losses, and the loop.

Each kind of method has a place of its own: which weights are trained (`adaptation/`), a loss
(`losses.py`), a penalty (`regularisers.py`), the objective of a step (`adversarial.py`), varied
texts (`augmentation.py`), more labels (`pseudo_labels.py`), a callback (`callbacks.py`).
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from models.data.augmentation import PARAPHRASE, chosen_ways, variants
from models.data.interactions import Interactions
from models.errors import InputError
from models.evaluation.texts_alone import withheld_by_popularity
from models.factors.start import Algorithms
from models.network.adaptation.choice import adapt
from models.network.adaptation.method import Adaptation
from models.network.adaptation.prefix import PrefixedLayer
from models.network.encoder import TextEncoder
from models.network.loading import load_language_model
from models.network.losses import (
    GeneralisedBce,
    LossMix,
    RankingLoss,
    SampledSoftmax,
    likeness_loss,
    ranking_softmax,
)
from models.network.options import LossOptions
from models.network.paraphrasing import paraphrases
from models.network.retention import REPLAYED
from models.network.towers import TwoTowers
from models.objective.adversarial import FastGradient
from models.objective.bank import LARGE_ITEMS, BucketTerm, FinetunedModel, Penalty, TextBank
from models.objective.examples import Collator, CutHistories, Labels, StepLoader, TrainingSteps
from models.objective.options import RegularisationOptions
from models.objective.preparation import (
    closed_form_start,
    item_buckets,
    teacher_factors,
)
from models.objective.regularisers import Anchor, Replay
from models.objective.task import TrainingTask, profile_rows, user_rows
from models.training.callbacks import GradualUnfreezing, PlainProgress, TextSamples
from models.training.options import FinetuneOptions
from models.training.sharding import ShardedClipping, leave_to_shards, shard
from models.training.trainer import LONGEST_GRADIENT, NdcgTrainer, Objective, training_arguments

_log = logging.getLogger("nightrank.train")


def adapted(encoder: TextEncoder, options: FinetuneOptions) -> Adaptation:
    """Prepare the encoder for tuning, in place; InputError where it can't take the method."""
    chosen = options.adaptation
    adaptation = adapt(encoder, chosen.tuning, chosen.tuned_layers, chosen.tuning_rank)
    if options.loop.checkpointing:
        if any(isinstance(layer, PrefixedLayer) for layer in adaptation.layers):
            raise InputError(
                "setting `checkpointing`: a prefix doesn't outlive a layer that is computed twice; "
                "choose another `tuning`"
            )
        encoder.model.gradient_checkpointing_enable({"use_reentrant": False})
    if options.loop.sharding:
        shard(encoder, options)
    return adaptation


def varied_texts(texts: Sequence[str], options: FinetuneOptions) -> list[list[str]]:
    """Return the varied copies of each text that the options ask for; [] where they ask for none.

    Raises InputError for a way that isn't known, or a paraphraser that can't be loaded.
    """
    chosen = options.augmentation
    ways, count = chosen_ways(chosen.augmentations), chosen.augmented_copies
    if not ways:
        return []
    copied = (
        paraphrases(texts, count, options.seed, chosen.paraphrase_model)
        if PARAPHRASE in ways
        else [texts] * count
    )
    return variants(copied, ways, options.seed)


def text_bank(adaptation: Adaptation, task: TrainingTask, options: FinetuneOptions) -> TextBank:
    """Return the bank of items, profiles and, where they are replayed, general sentences."""
    copies = varied_texts(task.item_texts, options)
    replayed = REPLAYED if options.regularisation.replay_weight else []
    texts = [*task.item_texts, *profile_rows(task), *replayed]
    return TextBank(adaptation, texts, len(task.item_texts), copies)


def model_under_losses(
    bank: TextBank, task: TrainingTask, options: FinetuneOptions, algorithms: Algorithms
) -> FinetunedModel:
    """Return bank and towers, begun from the closed form, and the losses that have a weight."""
    train, losses = task.split.tuning.train, options.losses
    vectors = bank.vectors.cpu().numpy()
    start = closed_form_start(
        task, vectors, task.split.tuning.labelled_train, options.start.factors, algorithms
    )
    towers = TwoTowers(bank.encoder.width, start)
    terms = {"teacher": _likeness(bank.encoder, task, losses)} if losses.teacher_encoder else {}
    return FinetunedModel(
        bank,
        towers,
        torch.from_numpy(withheld_by_popularity(start.known, train, options.seed)),
        teacher_factors(task, towers, bank, options.examples.history_length),
        LossMix(_learnable(task, losses.weights), losses.learned_weights),
        _ranking_loss(train, losses),
        terms,
        _penalties(bank, options.regularisation),
    )


def _learnable(task: TrainingTask, weights: dict[str, float]) -> dict[str, float]:
    """Return the weights; where all labels are alike without interest and rating, and warn."""
    likes = task.split.tuning.labelled_train.value >= task.threshold
    if likes.any() and not likes.all():
        return weights
    kind = "a like" if likes.any() else "no like"
    _log.warning(
        "each of the %d labels is %s: interest and rating can't be learned and are left out",
        len(likes),
        kind,
    )
    return {**weights, "interest": 0.0, "rating": 0.0}


def _ranking_loss(train: Interactions, losses: LossOptions) -> RankingLoss:
    if losses.ranking_loss != "softmax" and not losses.ranking_weight:
        raise InputError(
            f"setting `ranking_loss`: {losses.ranking_loss} counts for nothing while "
            "`ranking_weight` is 0"
        )
    sampled = losses.ranking_loss == "sampled_softmax"
    if losses.ranking_loss == "softmax" and train.n_items > LARGE_ITEMS and losses.ranking_weight:
        _log.warning(
            "setting `ranking_loss`: with %d items softmax is estimated from %d drawn ones",
            train.n_items,
            losses.negatives,
        )
        sampled = True
    if sampled:
        counts = np.bincount(train.item, minlength=train.n_items)
        return SampledSoftmax(torch.from_numpy(counts).float(), losses.negatives)
    if losses.ranking_loss == "gbce":
        return GeneralisedBce(train.n_items, losses.negatives)
    return ranking_softmax


def _likeness(encoder: TextEncoder, task: TrainingTask, losses: LossOptions) -> BucketTerm:
    loaded = load_language_model(losses.teacher_encoder, "teacher_encoder")
    teacher = TextEncoder(*loaded, max_tokens=encoder.max_tokens)
    known = torch.from_numpy(teacher.vectors(task.item_texts))

    def term(rows: Tensor, texts: Tensor) -> Tensor:
        return likeness_loss(texts, known.to(texts.device)[rows])

    return term


def _penalties(bank: TextBank, chosen: RegularisationOptions) -> dict[str, Penalty]:
    found: dict[str, Penalty] = {}
    if chosen.anchor_weight:
        found["anchor"] = Anchor(bank, chosen.anchor_weight)
    if chosen.replay_weight:
        last = len(bank.vectors)
        found["replay"] = Replay(bank, np.arange(last - len(REPLAYED), last), chosen.replay_weight)
    if bank.adaptation.penalty is not None:
        found["adaptation"] = bank.adaptation.penalty
    return found


def training_loop(
    model: FinetunedModel,
    task: TrainingTask,
    labelled: Interactions,
    options: FinetuneOptions,
    folder: Path,
) -> NdcgTrainer:
    """Return the Trainer that learns from `labelled` interactions, with checkpoints in `folder`."""
    examples = options.examples
    buckets = item_buckets(model, examples.bucket_items)
    collate = Collator(
        user_rows(task),
        Labels.of(labelled, task.threshold),
        examples.history_length,
        model.bank.n_items,
    )
    cut = CutHistories(labelled, task.threshold)
    leave_to_shards(model)
    steps = TrainingSteps(cut, collate, buckets, examples.batch_users, options.seed)
    trainer = NdcgTrainer(
        task,
        options,
        _objective(model.bank, options),
        StepLoader(steps),
        model=model,
        args=training_arguments(options, folder, len(steps)),
        train_dataset=steps,
        eval_dataset=[],
        callbacks=_callbacks(model, options),
    )
    trainer.callback_handler.remove_callback(PrinterCallback)  # standard output is the result's
    samples = TextSamples(trainer.samples, folder / "tensorboard")
    trainer.callback_handler.add_callback(samples)
    return trainer


def _objective(bank: TextBank, options: FinetuneOptions) -> Objective:
    step = options.regularisation.adversarial_step
    if not step:
        return lambda model, batch: model(batch)
    if not bank.adaptation.layers or options.loop.processes > 1:
        raise InputError(
            "setting `adversarial_step`: it needs `tuned_layers` of at least 1 and one process"
        )
    return FastGradient(bank, step)


def _callbacks(model: FinetunedModel, options: FinetuneOptions) -> list[TrainerCallback]:
    adaptation = model.bank.adaptation
    callbacks: list[TrainerCallback] = [EarlyStoppingCallback(options.loop.patience)]
    callbacks += adaptation.callbacks()
    if options.adaptation.unfreeze_epochs:
        callbacks.append(GradualUnfreezing(adaptation, options.adaptation.unfreeze_epochs))
    if options.loop.sharding:
        callbacks.append(ShardedClipping(LONGEST_GRADIENT))
    if not sys.stderr.isatty():
        callbacks.append(PlainProgress())
    return callbacks
