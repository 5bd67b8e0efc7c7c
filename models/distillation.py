"""Distillation: the pruned encoder learns to give the full one's vectors and rankings.

- Vectors: one minus the cosine to the full encoder's vector of the same text.
- Rankings: the squared error of the scores that users give to texts. Scores are linear in the
  vectors, so that all users come down to one matrix (`score_metric`): an error in a direction that
  moves scores much costs much, one that no user feels costs nothing.
- A linear map at the end stands where least squares put it (`fit_alignment`): training begins with
  what the pruned encoder knows already, instead of turning its whole space. The map is solved anew
  for the shipped vectors and not kept.
- Word pieces stay as they are: a few texts alone would move the rare ones.

The losses follow Hinton et al. ("Distilling the knowledge in a neural network", 2015) and, in
taking what the last layer sees of it, Yang et al. ("Knowledge distillation via softmax regression
representation learning", ICLR 2021).

Trade-off: distilling on the catalogue's own texts takes a minute and no other data; texts far
from the catalogue are served less faithfully.
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from models.dataset import Factors
from models.encoder import TextEncoder
from models.pooling import fit_alignment
from models.texts import length_buckets

_log = logging.getLogger("nightrank.export")

BATCH = 32


def score_metric(weights: Factors, users: Factors) -> Factors:
    """Return the root [w, w] of the metric in which errors of text vectors move scores.

    `weights` [w, d] map text vectors to ranking factors, `users` [u, d] are user factors: the
    mean squared score of a vector v is the squared length of v @ root.
    """
    seen = weights @ users.T
    values, vectors = np.linalg.eigh((seen @ seen.T).astype(np.float64) / max(len(users), 1))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float32)


def distil(
    student: TextEncoder,
    texts: Sequence[str],
    targets: Factors,
    metric: Factors,
    epochs: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Train `student` in place to give the vectors `targets` [t, w] for `texts`.

    `metric` [w, w] is that of `score_metric`.
    """
    generator = torch.Generator().manual_seed(seed)
    tail = _tail(*fit_alignment(student.vectors(texts), targets)).to(student.device)
    tail.requires_grad_(False)
    student.requires_grad_(True)
    student.model.embeddings.requires_grad_(False)
    student.eval()
    trained = [weight for weight in student.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    tokens = student.tokenize(texts)
    buckets = length_buckets(tokens.lengths, BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=learning_rate, total_steps=max(1, epochs * len(buckets)), pct_start=0.1
    )
    wanted, root = torch.from_numpy(targets).to(student.device), _scaled(targets, metric)
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(buckets), generator=generator).tolist():
            rows = buckets[index]
            ids, mask = tokens.batch(rows, student.padding, student.device)
            vectors = nn.functional.normalize(tail(student(ids, mask)), dim=-1)
            error, cosine = _losses(vectors, wanted[torch.from_numpy(rows)], root)
            loss = 1.0 - cosine.mean() + error
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            total += float(cosine.detach().sum())
        _log.info("distillation epoch %d/%d: cosine %.4f", epoch + 1, epochs, total / len(texts))


def _tail(weights: Factors, bias: Factors) -> nn.Linear:
    tail = nn.Linear(*weights.shape)
    with torch.no_grad():
        tail.weight.copy_(torch.from_numpy(weights.T))
        tail.bias.copy_(torch.from_numpy(bias))
    return tail


def _scaled(targets: Factors, metric: Factors) -> Tensor:
    """Return the metric scaled so that missing the targets' spread altogether costs one."""
    spread = (targets - targets.mean(axis=0)) @ metric
    size = float(np.sqrt((spread**2).sum(axis=1).mean()))
    return torch.from_numpy(metric / max(size, 1e-12))


def _losses(vectors: Tensor, wanted: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean squared error of scores and the cosines [b]."""
    error = ((vectors - wanted) @ root.to(vectors.device)).square().sum(dim=1).mean()
    return error, (vectors * wanted).sum(dim=1)
