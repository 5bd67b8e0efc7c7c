"""Structured pruning: whole layers, attention heads and feed-forward units are removed.

- The layers that are kept are evenly spaced, the first and the last among them (as in Sun et al.,
  "Patient knowledge distillation", EMNLP 2019): choosing them by their contribution to the output
  gained nothing after distillation (docs/experiments.md).
- Heads and feed-forward units are ranked by their contribution to their layer's output on real
  texts: the squared size of their activations times that of their outgoing weights.
- The weights that are kept are fitted by least squares to the output of the unpruned layer (as in
  He et al., "Channel pruning for accelerating very deep neural networks", ICCV 2017), so that
  distillation has little left to correct.

Trade-off: a sample of the texts runs through the encoder a dozen times. Single weights are never
pruned, since zeros in a dense matrix make no product faster.
"""

import copy
import logging
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import prune_linear_layer

from models.data.arrays import Rows
from models.errors import InputError
from models.network.encoder import TextEncoder
from models.network.loading import layers_of

_log = logging.getLogger("nightrank.export")

UNIT_SAMPLE = 96
RIDGE = 1e-3


def prune_layers(encoder: TextEncoder, keep: int) -> TextEncoder:
    """Return a copy of `encoder` with `keep` layers, evenly spaced from the first to the last.

    Raises InputError where it has fewer layers than that.
    """
    depth = len(layers_of(encoder.model))
    if keep > depth:
        raise InputError(f"setting `keep_layers`: {keep}, but the encoder has {depth} layers")
    kept = np.linspace(0, depth - 1, keep).round().astype(int)
    pruned = copy.deepcopy(encoder)
    stack = cast(nn.Module, pruned.model.encoder)
    stack.layer = nn.ModuleList([layers_of(pruned.model)[layer] for layer in kept])
    pruned.model.config.num_hidden_layers = keep
    _log.info("pruning keeps the layers %s", ", ".join(str(layer + 1) for layer in kept))
    return pruned


def prune_units(
    encoder: TextEncoder, keep_heads: float, keep_width: float, texts: Sequence[str], seed: int
) -> TextEncoder:
    """Return a copy of `encoder` with these shares of each layer's heads and feed-forward units.

    At least one of each is kept. Layers are pruned from the first to the last, each on the outputs
    of the pruned layers below it.
    """
    pruned = copy.deepcopy(encoder)
    some = [texts[row] for row in sample_rows(len(texts), UNIT_SAMPLE, seed)]
    for layer in layers_of(pruned.model):
        if keep_heads < 1.0:
            _prune_heads(pruned, layer, keep_heads, some)
        if keep_width < 1.0:
            _prune_feed_forward(pruned, layer, keep_width, some)
    return pruned


def _prune_heads(encoder: TextEncoder, layer: nn.Module, share: float, texts: list[str]) -> None:
    attention = cast(Any, layer).attention
    heads, size = attention.self.num_attention_heads, attention.self.attention_head_size
    moments = _second_moments(encoder, attention.output.dense, texts)
    contribution = _contribution(moments, attention.output.dense.weight)
    by_head = contribution.reshape(heads, size).sum(dim=1)
    kept = _largest(by_head, share)
    units = (kept[:, None] * size + torch.arange(size)).flatten()
    fitted = _refitted(moments, attention.output.dense.weight, units)
    attention.prune_heads(set(range(heads)) - set(kept.tolist()))
    with torch.no_grad():
        attention.output.dense.weight.copy_(fitted)


def _prune_feed_forward(
    encoder: TextEncoder, layer: nn.Module, share: float, texts: list[str]
) -> None:
    inner, outer = cast(Any, layer).intermediate, cast(Any, layer).output
    moments = _second_moments(encoder, outer.dense, texts)
    kept = _largest(_contribution(moments, outer.dense.weight), share)
    fitted = _refitted(moments, outer.dense.weight, kept)
    inner.dense = prune_linear_layer(inner.dense, kept)
    outer.dense = prune_linear_layer(outer.dense, kept, dim=1)
    with torch.no_grad():
        outer.dense.weight.copy_(fitted)


def _second_moments(encoder: TextEncoder, module: nn.Module, texts: list[str]) -> Tensor:
    """Return the second moments [u, u] of what goes into `module` over the tokens of `texts`."""
    units = cast(nn.Linear, module).in_features
    total = torch.zeros(units, units, dtype=torch.float64)

    def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        tokens = inputs[0].flatten(0, -2)
        total.add_(tokens.T @ tokens)

    handle = module.register_forward_pre_hook(add)
    # one text at a time: no token is padding
    encoder.vectors(texts, batch=1)
    handle.remove()
    return total


def _contribution(moments: Tensor, weight: Tensor) -> Tensor:
    """Return the squared contribution of each input unit [u] of `weight` [o, u] to the output."""
    return moments.diagonal() * weight.detach().double().square().sum(dim=0)


def _largest(importance: Tensor, share: float) -> torch.LongTensor:
    size = max(1, round(share * len(importance)))
    largest = importance.argsort(descending=True, stable=True)[:size]
    return cast(torch.LongTensor, largest.sort().values)


def _refitted(moments: Tensor, weight: Tensor, kept: Tensor) -> Tensor:
    """Return weights [o, k] with which the `kept` units best give the output of all."""
    inside = moments[kept][:, kept]
    damping = RIDGE * inside.diagonal().mean() * torch.eye(len(kept), dtype=inside.dtype)
    wanted = moments[kept] @ weight.detach().double().T
    fitted: Tensor = torch.linalg.solve(inside + damping, wanted)
    return fitted.T.to(weight.dtype)


def sample_rows(n_texts: int, size: int, seed: int) -> Rows:
    """Return at most `size` rows of `n_texts`, drawn without replacement, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(n_texts)[:size])
