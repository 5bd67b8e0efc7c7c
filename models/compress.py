"""Compression: a fine-tuned encoder becomes a small ONNX file.

- Pruning keeps evenly spread layers, the first and the last among them (Sajjad et al., "On the
  effect of dropping layers of pre-trained transformer models", 2023).
- Distillation teaches the pruned encoder the vectors of the full one on the corpus's texts.
- Optimum exports and quantises; the result loads with plain ONNX Runtime and the tokenizers
  library.

Trade-off: distilling on the catalogue's own texts takes a minute and no other data; texts far
from the catalogue are served less faithfully.
"""

import copy
import logging
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
import torch
from torch import nn

from models.bundle import ENCODER, ITEM_TOWER, TOKENIZER, USER_TOWER, refuse_unsafe_graph
from models.dataset import Factors
from models.encoder import TextEncoder, layers_of
from models.errors import InputError
from models.network import TwoTowers
from models.texts import length_buckets

_log = logging.getLogger("nightrank.export")

OPSET = 18


def prune_layers(encoder: TextEncoder, keep: int) -> TextEncoder:
    """Return a copy of `encoder` with `keep` of its layers; InputError when it has fewer."""
    layers = layers_of(encoder.model)
    if keep > len(layers):
        raise InputError(f"setting `keep_layers`: {keep}, but the encoder has {len(layers)} layers")
    kept = np.unique(np.linspace(0, len(layers) - 1, keep).round().astype(int))
    pruned = copy.deepcopy(encoder)
    stack = cast(nn.Module, pruned.model.encoder)
    stack.layer = nn.ModuleList([layers_of(pruned.model)[i] for i in kept])
    pruned.model.config.num_hidden_layers = len(kept)
    return pruned


def distil(
    student: TextEncoder,
    texts: Sequence[str],
    targets: Factors,
    epochs: int,
    learning_rate: float,
    seed: int,
) -> float:
    """Train `student` in place to give the vectors `targets` [t, w] for `texts`.

    Returns the mean cosine similarity to the targets in the last epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    student.requires_grad_(True)
    student.model.embeddings.requires_grad_(False)
    student.eval()
    trained = [weight for weight in student.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    tokens = student.tokenize(texts)
    buckets = length_buckets(tokens.lengths, 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=learning_rate, total_steps=max(1, epochs * len(buckets)), pct_start=0.1
    )
    wanted = torch.from_numpy(targets).to(student.device)
    similarity = 0.0
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(buckets), generator=generator).tolist():
            rows = buckets[index]
            ids, mask = tokens.batch(rows, student.padding, student.device)
            cosine = (student(ids, mask) * wanted[torch.from_numpy(rows)]).sum(dim=1)
            (1.0 - cosine).mean().backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            total += float(cosine.detach().sum())
        similarity = total / len(texts)
        _log.info("distillation epoch %d/%d: cosine %.4f", epoch + 1, epochs, similarity)
    return similarity


def export_encoder(encoder: TextEncoder, folder: Path, quantisation: str) -> None:
    """Write `encoder.onnx` and `tokenizer.json`; quantisation "int8" or "none".

    int8 is dynamic, with a scale for each channel of the weights.
    """
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
        result = exported / "model.onnx"
        if quantisation == "int8":
            result = _quantise(exported, Path(scratch) / "quantised")
        refuse_unsafe_graph(result)
        shutil.copyfile(result, folder / ENCODER)
    encoder.tokenizer.save_pretrained(folder / "tokenizer")
    shutil.copyfile(folder / "tokenizer" / TOKENIZER, folder / TOKENIZER)
    shutil.rmtree(folder / "tokenizer")


def _quantise(exported: Path, folder: Path) -> Path:
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    quantizer = ORTQuantizer.from_pretrained(str(exported), file_name="model.onnx")
    configuration = AutoQuantizationConfig.avx2(
        is_static=False, per_channel=True, reduce_range=True
    )
    # ONNX Runtime's quantiser tells of every tensor on the root logger
    logging.disable(logging.INFO)
    try:
        quantizer.quantize(save_dir=str(folder), quantization_config=configuration)
    finally:
        logging.disable(logging.NOTSET)
    return folder / "model_quantized.onnx"


def export_towers(towers: TwoTowers, text_dim: int, folder: Path) -> None:
    """Write `item_tower.onnx` and `user_tower.onnx`."""
    towers = towers.cpu().eval()
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
            torch.zeros(2),
        ),
        folder / USER_TOWER,
        {
            "profiles": {0: "users"},
            "history_factors": {0: "items_and_padding"},
            "items": {0: "users", 1: "history"},
            "ages": {0: "users", 1: "history"},
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
