"""Losses of the two tasks, item recommendation and interest prediction, and how they are mixed.

- Each loss is a plain function of tensors; where there is nothing to learn from it is zero.
- `LossMix` adds them up, by fixed weights or by weights learned from their uncertainty (Kendall,
  Gal and Cipolla, CVPR 2018).

Trade-off: learned weights follow the noise of the losses, not their use for the ranking; fixed
ones, chosen on validation, are the default.
"""

from collections.abc import Mapping

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
    """Return the binary cross-entropy of labelled pairs [m]."""
    if len(logits) == 0:
        return logits.sum()
    return nn.functional.binary_cross_entropy_with_logits(logits, labels)


def rating_loss(ratings: Tensor, values: Tensor) -> Tensor:
    """Return the mean squared error of predicted ratings against standardised values [m]."""
    if len(ratings) == 0:
        return ratings.sum()
    return nn.functional.mse_loss(ratings, values)


def cosine_alignment(users: Tensor, items: Tensor) -> Tensor:
    """Return 1 - the mean cosine of users and the items that they liked, both [m, d]."""
    if len(users) == 0:
        return items.sum()
    return 1.0 - nn.functional.cosine_similarity(users, items, dim=1).mean()


def distillation_loss(predicted: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared distance of predicted from the teacher's factors, both [m, t]."""
    if len(predicted) == 0:
        return predicted.sum()
    return ((predicted - teacher) ** 2).sum(dim=1).mean()


class LossMix(nn.Module):
    """The weighted sum of losses by name; a loss of weight zero is left out.

    With `learned` each loss L enters as exp(-s) * weight * L + s, where s is trained from zero.
    """

    def __init__(self, weights: Mapping[str, float], learned: bool) -> None:
        super().__init__()
        self.weights = {name: weight for name, weight in weights.items() if weight > 0.0}
        self.log_variance = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(())) for name in self.weights} if learned else {}
        )

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of `losses`, which has an entry for each name with a weight."""
        total = torch.zeros(())
        for name, weight in self.weights.items():
            weighted = weight * losses[name]
            if name in self.log_variance:
                spread = self.log_variance[name]
                weighted = torch.exp(-spread) * weighted + spread
            total = total + weighted
        return total


def _mean_of_users(losses: Tensor, users: Tensor, n_users: int) -> Tensor:
    total = torch.zeros(n_users, device=losses.device).index_add(0, users, losses)
    count = torch.zeros(n_users, device=losses.device).index_add(0, users, torch.ones_like(losses))
    return (total / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)
