"""Losses of the two tasks: item recommendation and interest prediction."""

import torch
from torch import Tensor, nn


def ranking_softmax(
    scores: Tensor, taken: Tensor, target_users: Tensor, target_items: Tensor
) -> Tensor:
    """Return the cross-entropy of each target against the whole catalogue.

    `scores` [b, n]; `taken` [b, n] true where the user has the item already, which then doesn't
    compete; `target_users`, `target_items` [m] the positives. Users count alike, however many
    targets they have.
    """
    log_probability = nn.functional.log_softmax(scores.masked_fill(taken, -torch.inf), dim=1)
    losses = -log_probability[target_users, target_items]
    return _mean_of_users(losses, target_users, len(scores))


def interest_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the binary cross-entropy of labelled pairs [m]; zero where there are none."""
    if len(logits) == 0:
        return logits.sum()
    return nn.functional.binary_cross_entropy_with_logits(logits, labels)


def score_distillation(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the mean squared error of scores [b, m]; zero where there are none.

    Of scores, not of factors: a dimension counts as much as the users make of it.
    """
    if ours.numel() == 0:
        return ours.sum()
    return nn.functional.mse_loss(ours, theirs)


def _mean_of_users(losses: Tensor, users: Tensor, n_users: int) -> Tensor:
    total = torch.zeros(n_users, device=losses.device).index_add(0, users, losses)
    count = torch.zeros(n_users, device=losses.device).index_add(0, users, torch.ones_like(losses))
    return (total / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)
