"""Distillation: the pruned encoder is trained to give the full one's states, vectors and scores.

- States: the squared error of the last layer's output for each token, divided by the variance.
  Every token of a text is a training example, so a few thousand texts are enough.
- Vectors: the squared error of the text vectors, divided by their variance.
- Scores: the squared error of users' scores for the texts. Scores are linear in the vectors, so all
  users are summed up in one matrix (`score_metric`): an error in a direction that changes scores
  much costs much, and one that changes no user's score costs nothing.
- The embeddings of word pieces are frozen: rare pieces would be fitted to a few texts.

The losses follow Hinton et al. ("Distilling the knowledge in a neural network", 2015) and, for the
states, Jiao et al. ("TinyBERT", EMNLP Findings 2020).

Trade-off: distilling on the catalogue's own texts takes minutes and no other data; texts unlike the
catalogue's get less accurate vectors.
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from models.data.arrays import Factors, Rows
from models.data.texts import length_buckets
from models.network.encoder import TextEncoder, Tokens
from models.network.loading import layers_of
from models.network.trunk import FrozenTrunk

_log = logging.getLogger("nightrank.export")

BATCH, KEPT_TEXTS, VARIANCE_TEXTS = 32, 8192, 256
MOST_PASSES = 100  # over few texts: more of them teach nothing new


def score_metric(weights: Factors, users: Factors) -> Factors:
    """Return the root [w, w] of the metric by which an error of a text vector changes scores.

    `weights` [w, d] map text vectors to ranking factors, `users` [u, d] are user factors: the
    mean squared score of a vector v is the squared length of v @ root.
    """
    seen = weights @ users.T
    values, vectors = np.linalg.eigh((seen @ seen.T).astype(np.float64) / max(len(users), 1))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float32)


def distil(
    student: TextEncoder,
    full: TextEncoder,
    texts: Sequence[str],
    metric: Factors,
    visits: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Train `student` in place to give the outputs of `full` for `texts`.

    It is trained on about `visits` texts, in at most MOST_PASSES whole passes; 0 leaves it
    unchanged. Of more than KEPT_TEXTS texts as many are drawn. `metric` [w, w] is that of
    `score_metric`.
    """
    if visits == 0:
        return
    generator = torch.Generator().manual_seed(seed)
    some = [texts[row] for row in torch.randperm(len(texts), generator=generator)[:KEPT_TEXTS]]
    epochs = min(MOST_PASSES, max(1, round(visits / len(some))))
    teacher = _Teacher(full, some, metric)
    trained = _trained(student)
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)
    tokens = student.tokenize(some)
    buckets = length_buckets(tokens.lengths, BATCH)
    schedule = _schedule(optimiser, learning_rate, epochs * len(buckets))
    for epoch in range(epochs):
        total = np.zeros(3)
        for index in torch.randperm(len(buckets), generator=generator).tolist():
            losses = teacher.losses(buckets[index], tokens, student)
            torch.autograd.backward(losses.sum())
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            total += losses.detach().cpu().numpy() / len(buckets)
        _log.info("distillation pass %d/%d: %s", epoch + 1, epochs, _named(total))


def _schedule(optimiser: Optimizer, rate: float, steps: int) -> OneCycleLR:
    """Return a rise and a fall of a step each at least: without, OneCycleLR divides by zero."""
    total = max(3, steps)
    return OneCycleLR(optimiser, max_lr=rate, total_steps=total, pct_start=max(0.1, 2 / total))


def _named(losses: NDArray[np.float64]) -> str:
    return "states {:.4f}, vectors {:.4f}, scores {:.4f}".format(*losses)


def _trained(student: TextEncoder) -> list[nn.Parameter]:
    """Return the weights that are trained, all but the embeddings; dropout is off."""
    student.eval()
    student.requires_grad_(True)
    student.model.embeddings.requires_grad_(False)
    return [weight for weight in student.parameters() if weight.requires_grad]


class _Teacher:
    """The full encoder's outputs for the texts, and a student's errors against them."""

    @torch.no_grad()
    def __init__(self, full: TextEncoder, texts: Sequence[str], metric: Factors) -> None:
        depth = len(layers_of(full.model))
        self._states = FrozenTrunk(full, texts, depth)
        self._vectors = torch.zeros(len(texts), full.width)
        for rows in length_buckets(self._states.lengths, BATCH):
            states, mask = self._states.batch(rows, full.device)
            self._vectors[torch.from_numpy(rows)] = full.pooled(states, mask, depth).cpu()
        centred = self._vectors - self._vectors.mean(dim=0)
        self._spread = max(float(centred.square().sum(dim=1).mean()), 1e-12)
        mean_square = float((centred @ torch.from_numpy(metric)).square().sum(dim=1).mean())
        self._root = torch.from_numpy(metric) / max(mean_square, 1e-12) ** 0.5
        sample, mask = self._states.batch(np.arange(min(len(texts), VARIANCE_TEXTS)), full.device)
        self._variance = max(float(sample[mask.bool()].var(dim=0).mean()), 1e-12)

    def losses(self, rows: Rows, tokens: Tokens, student: TextEncoder) -> Tensor:
        """Return the student's errors of states, vectors and scores [3] for the texts `rows` [b].

        An error of 1 is that of always giving the mean. `tokens` are the student's, of all texts.
        """
        ids, mask = tokens.batch(rows, student.padding, student.device)
        depth = len(layers_of(student.model))
        states = student.states(ids, mask, depth)
        wanted, _ = self._states.batch(rows, states.device)
        inside = mask.unsqueeze(-1).to(states.dtype)
        apart = ((states - wanted).square() * inside).sum() / (inside.sum() * states.shape[2])
        vectors = student.pooled(states, mask, depth)
        missed = vectors - self._vectors[torch.from_numpy(rows)].to(vectors.device)
        scores = missed @ self._root.to(vectors.device)
        return torch.stack(
            [
                apart / self._variance,
                missed.square().sum(dim=1).mean() / self._spread,
                scores.square().sum(dim=1).mean(),
            ]
        )
