"""Export of the pruned encoder and of the towers to ONNX files.

- Optimum exports the encoder, which is then quantised for the hardware that scores; pooling and
  normalisation are appended to its graph (`models/compression/pooling.py`).
- The files load with plain ONNX Runtime and the tokenizers library.

Trade-off: one exporter for the encoder and another for the towers, which Optimum doesn't know.
"""

import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from models.compression.pooling import append_pooling
from models.compression.quantisation import quantise
from models.network.encoder import TextEncoder
from models.network.towers import TwoTowers
from models.serving.bundle import (
    ENCODER,
    HISTORY_FACTORS,
    ITEM_FACTORS,
    ITEM_TOWER,
    PROFILE_MAP,
    TOKENIZER,
    USER_TOWER,
    ExportedEncoder,
    refuse_unsafe_graph,
)
from models.serving.manifest import EncoderFacts

OPSET = 18


def export_encoder(encoder: TextEncoder, folder: Path, quantisation: str) -> ExportedEncoder:
    """Write `encoder.onnx` and `tokenizer.json`, quantised as `quantisation` says."""
    from optimum.exporters.onnx import onnx_export_from_model

    with TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = Path(scratch) / "exported"
        encoder.eval()
        onnx_export_from_model(
            encoder.model.cpu(),
            output=exported,
            task="feature-extraction",
            opset=OPSET,
            monolith=True,
            do_validation=False,
        )
        shutil.copyfile(quantise(exported, quantisation), folder / ENCODER)
    append_pooling(folder / ENCODER, encoder.width, encoder.sentences)
    refuse_unsafe_graph(folder / ENCODER)
    encoder.tokenizer.save_pretrained(folder / "tokenizer")
    shutil.copyfile(folder / "tokenizer" / TOKENIZER, folder / TOKENIZER)
    shutil.rmtree(folder / "tokenizer")
    return ExportedEncoder(folder / ENCODER, folder / TOKENIZER, encoder_facts(encoder))


def encoder_facts(encoder: TextEncoder) -> EncoderFacts:
    """Return what a version's manifest has to say of `encoder`."""
    return EncoderFacts(
        encoder.max_tokens,
        encoder.width,
        encoder.sentences.pooling,
        encoder.sentences.normalised,
        encoder.sentences.prompt,
    )


def write_towers(towers: TwoTowers, text_dim: int, folder: Path) -> None:
    """Write the towers with the own factors of the known items: what scoring needs of them."""
    np.save(folder / ITEM_FACTORS, towers.own_ranking[towers.known].numpy())
    np.save(folder / HISTORY_FACTORS, towers.own_history[towers.known].numpy())
    export_towers(towers, text_dim, folder)


def export_towers(towers: TwoTowers, text_dim: int, folder: Path) -> None:
    """Write `item_tower.onnx`, `user_tower.onnx` and the part of it that profiles take."""
    towers = towers.cpu().eval()
    users = towers.users
    profile_map = torch.cat([users.profile_weights, users.profile_mean[:, None]], dim=1)
    np.save(folder / PROFILE_MAP, profile_map.numpy())
    ranking, history = towers.own_ranking.shape[1], towers.own_history.shape[1]
    ages = torch.arange(5, dtype=torch.float32).expand(2, -1).contiguous()
    _export(
        towers.items,
        (torch.zeros(3, text_dim), torch.zeros(3, ranking), torch.zeros(3, history)),
        folder / ITEM_TOWER,
        {name: {0: "items"} for name in ("text_vectors", "ranking_sum", "history_sum")},
        ["ranking", "history"],
    )
    _export(
        towers.users,
        (
            torch.zeros(2, text_dim),
            torch.zeros(4, history),
            torch.zeros((2, 5), dtype=torch.int64),
            ages,
            torch.ones(2, 5),
            torch.zeros(2),
        ),
        folder / USER_TOWER,
        {
            "profiles": {0: "users"},
            "history_factors": {0: "items_and_padding"},
            "items": {0: "users", 1: "history"},
            "ages": {0: "users", 1: "history"},
            "liked": {0: "users", 1: "history"},
            "idle_days": {0: "users"},
        },
        ["user_factors"],
    )


def _export(
    module: nn.Module,
    example: tuple[torch.Tensor, ...],
    path: Path,
    inputs: dict[str, dict[int, str]],
    outputs: list[str],
) -> None:
    axes = {**inputs, **{name: {0: next(iter(inputs.values()))[0]} for name in outputs}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    refuse_unsafe_graph(path)
