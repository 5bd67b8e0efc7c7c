"""A fine-tune's weights, vectors and text map in a version's folder: written and loaded."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from models.data.attributes import AttributeColumns
from models.errors import InputError
from models.evaluation.interest import Interest
from models.factors.start import Start
from models.factors.text_map import TextMap
from models.network.adaptation.choice import UNMERGED, adapt
from models.network.adaptation.wrapping import wrapped
from models.network.encoder import TextEncoder
from models.network.loading import load_language_model
from models.network.towers import TwoTowers
from models.objective.task import TrainingTask, profile_rows
from models.serving.bundle import (
    ATTRIBUTE_FACTORS,
    ATTRIBUTES,
    FINE_TUNED_VECTORS,
    INTEREST,
    MANIFEST,
    PRETRAINED_VECTORS,
    TEXTS,
    Bundle,
    open_bundle,
)
from models.training.finetune import Finetuned

ENCODER_WEIGHTS = "training/encoder.safetensors"
TOWER_WEIGHTS = "training/towers.safetensors"


def save_weights(
    result: Finetuned, task: TrainingTask, columns: AttributeColumns, folder: Path
) -> None:
    """Write the weights, text vectors and text map of a fine-tune into `folder`."""
    (folder / "training").mkdir(parents=True)
    model = result.model
    texts = [*task.item_texts, *profile_rows(task)]
    save_file(model.bank.encoder.model.state_dict(), folder / ENCODER_WEIGHTS)
    save_file(model.towers.state_dict(), folder / TOWER_WEIGHTS)
    np.save(folder / PRETRAINED_VECTORS, result.pretrained_vectors[: len(texts)])
    np.save(folder / FINE_TUNED_VECTORS, model.bank.vectors[: len(texts)].cpu().numpy())
    (folder / TEXTS).write_text(json.dumps(texts, ensure_ascii=False), "utf-8")
    save_closed_form(result.text_map, result.interest, columns, folder)


def save_closed_form(
    text_map: TextMap, interest: Interest, columns: AttributeColumns, folder: Path
) -> None:
    """Write what attributes add to factors, and what interest prediction needs, into `folder`."""
    np.save(folder / ATTRIBUTE_FACTORS, text_map.attributes)
    (folder / ATTRIBUTES).write_text(json.dumps(columns.to_json(), ensure_ascii=False), "utf-8")
    save_arrays(
        {
            "coefficients": interest.coefficients,
            "levels": interest.levels[interest.rated],
            "weights": interest.text_map.weights,
            "bias": interest.text_map.bias,
            "attributes": interest.text_map.attributes,
        },
        folder / INTEREST,
    )


def load_encoder(bundle: Bundle) -> TextEncoder:
    """Return the fine-tuned text encoder of a version, with its own pooling and prompt."""
    settings, facts = bundle.manifest.settings, bundle.manifest.encoder
    encoder = start_encoder(settings.encoder, facts.max_tokens)
    encoder.sentences = replace(
        encoder.sentences,
        pooling=facts.pooling,
        normalised=facts.normalised,
        prompt=facts.prompt,
    )
    if settings.tuning in UNMERGED:
        adapt(encoder, settings.tuning, settings.tuned_layers, settings.tuning_rank)
    encoder.model.load_state_dict(load_file(bundle.path(ENCODER_WEIGHTS)))
    return encoder.eval()


def start_encoder(name: str, max_tokens: int) -> TextEncoder:
    """Return the encoder `name`: one that `load_language_model` knows, or a version's folder.

    Raises InputError where it can't be had.
    """
    if not (Path(name) / MANIFEST).exists():
        return TextEncoder(*load_language_model(name), max_tokens)
    encoder = load_encoder(open_bundle(Path(name)))
    if wrapped(encoder):
        raise InputError(
            f"setting `encoder`: version {name} has a prefix or adapters, which can't be tuned "
            "further"
        )
    encoder.cut_at(max_tokens)
    return encoder


def load_towers(bundle: Bundle) -> TwoTowers:
    """Return the towers of a version; InputError for one of 0.2.0 or earlier."""
    weights = load_file(bundle.path(TOWER_WEIGHTS))
    if "users.below" not in weights:
        raise InputError(
            f"model version {bundle.version} was trained by nightrank 0.2.0 or earlier, whose "
            "histories held likes alone: train again"
        )
    own = {name: weights[name].numpy() for name in ("own_ranking", "own_history", "known")}
    start = Start(
        blocks=bundle.manifest.blocks,
        popularity=bundle.manifest.popularity,
        ranking=own["own_ranking"],
        history=own["own_history"],
        known=own["known"],
        profile_weights=weights["users.profile_weights"].numpy(),
        profile_mean=weights["users.profile_mean"].numpy(),
    )
    towers = TwoTowers(bundle.manifest.encoder.text_dim, start)
    towers.load_state_dict(weights)
    return towers.eval()
