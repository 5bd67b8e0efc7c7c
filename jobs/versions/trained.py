"""From settings and tables to a fine-tune, and from a fine-tune to the files of a version.

What `train` and `tune` share: the name that inputs give a version, the data of a training, and the
version's folder.
"""

import logging
from collections.abc import Sequence
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np

from jobs.settings.model import Settings
from jobs.versions.code import code_hash, folder_hash, identity_hash
from jobs.versions.workplace import partial_folder, put_in_place
from jobs.warehouse.dataset import Dataset
from models.compression.onnx_export import encoder_facts
from models.data.attributes import AttributeColumns
from models.data.options import RepeatOptions
from models.data.splits import make_split, thinned
from models.data.texts import item_texts
from models.network.encoder import TextEncoder
from models.network.options import EncoderOptions
from models.network.processes import rank
from models.objective.task import TrainingTask
from models.serving.bundle import refuse_incomplete, write_manifest
from models.serving.manifest import Manifest, TrainedWith
from models.training.finetune import Finetuned, finetune
from models.training.options import FinetuneOptions
from models.training.weights import save_weights, start_encoder

LOGGER = logging.getLogger(__name__)

MOST_UNKNOWN = 0.2  # of a text's word pieces
LANGUAGE_MODELS = ("encoder", "teacher_encoder", "paraphrase_model")
LIBRARIES = ("nightrank", "torch", "transformers", "optimum", "onnxruntime-gpu", "numpy")


def version_name(settings: Settings, dataset: Dataset) -> str:
    """Return the name of the version that these inputs make.

    It holds what is in the tables beside their versions: a table that was deleted and made anew
    counts its versions from 0 again.
    """
    identity = {
        "settings": training_settings(settings),
        "tables": dataset.versions,
        "contents": dataset.contents,
        "code": code_hash(),
        "language models": language_model_hashes(settings),
    }
    return identity_hash(identity)[:12]


def language_model_hashes(settings: Settings) -> dict[str, str]:
    """Return the hashes of the language models that settings name by a folder, by setting."""
    named = {name: Path(getattr(settings, name)) for name in LANGUAGE_MODELS}
    return {
        name: folder_hash(folder)
        for name, folder in named.items()
        if getattr(settings, name) and folder.is_dir()
    }


def training_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that a training reads."""
    names = [*FinetuneOptions.names(), *EncoderOptions.names(), *RepeatOptions.names()]
    names += ["positive_threshold", "split"]
    return {name: getattr(settings, name) for name in sorted(names)}


def write_version(
    settings: Settings, dataset: Dataset, version: str, folder: Path, checkpoints: Path
) -> None:
    """Fine-tune and write the version's folder, which appears whole or not at all.

    The caller holds the lock of the version.
    """
    encoder = start_encoder(settings.encoder, settings.max_tokens)
    columns = AttributeColumns.fit(dataset.catalogue.attributes)
    task = training_task(settings, dataset, columns)
    _warn_of_language(encoder, task.item_texts)
    options = FinetuneOptions.of(settings.model_dump())
    result = finetune(encoder, task, options, checkpoints)
    if rank() > 0:
        return
    partial = partial_folder(folder.parent, version)
    save_weights(result, task, columns, partial)
    manifest = _manifest(settings, dataset, version, result, encoder)
    refuse_incomplete(write_manifest(partial, manifest))
    put_in_place(partial, folder)


def _warn_of_language(encoder: TextEncoder, texts: Sequence[str]) -> None:
    """Log a warning where the encoder doesn't know the language of some texts."""
    shares = encoder.unknown_shares(texts)
    foreign = np.flatnonzero(shares > MOST_UNKNOWN)
    if len(foreign):
        LOGGER.warning(
            "the encoder knows less than %.0f %% of the words in %d of %d items' texts, such as "
            "%.60r: take one of their language, setting `encoder`",
            100 * (1 - MOST_UNKNOWN), len(foreign), len(texts), texts[foreign[0]],
        )  # fmt: skip


def _manifest(
    settings: Settings, dataset: Dataset, version: str, result: Finetuned, encoder: TextEncoder
) -> Manifest:
    item_ids = np.array(dataset.catalogue.item_ids, dtype=object)
    towers = result.model.towers
    return Manifest(
        version=version,
        split=settings.split,
        settings=TrainedWith(training_settings(settings)),
        tables=dataset.versions,
        item_ids=item_ids[towers.known.cpu().numpy()].tolist(),
        rated_item_ids=item_ids[result.interest.rated].tolist(),
        blocks=towers.users.blocks,
        popularity=towers.users.popularity,
        encoder=encoder_facts(encoder),
        history_length=settings.history_length,
        metrics=result.metrics,
        learning_curve=result.curve,
        code=code_hash(),
        libraries={name: library_version(name) for name in LIBRARIES},
        contents=dataset.contents,
        trained_until=float(dataset.interactions.time.max()),
        fitted_with=result.fitted_with,
    )


def training_task(settings: Settings, dataset: Dataset, columns: AttributeColumns) -> TrainingTask:
    """Return the data of a fine-tune, with the share of the labels that is used."""
    split = make_split(
        settings.split, dataset.interactions, settings.positive_threshold, settings.repeat_policy
    )
    return TrainingTask(
        item_texts=item_texts(dataset.catalogue),
        profiles=dataset.profiles,
        split=thinned(split, settings.label_share, settings.seed),
        columns=columns.encode(dataset.catalogue.attributes),
    )
