"""Losses of the two tasks, item recommendation and interest prediction, and their weighted sum.

- Each loss is a function of tensors; without examples it is zero.
- `LossMix` adds them up with fixed weights, or with weights learned from the uncertainty of each
  loss (Kendall, Gal and Cipolla, CVPR 2018).

Trade-off: learned weights follow the noise of the losses, not their benefit to the ranking; fixed
ones, chosen on validation, are the default.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn


class ItemFactors(Protocol):
    """Ranking factors of items by their rows: a tensor [n, d], or what makes them when asked."""

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the factors [m, d] of `rows` [m]."""


class Ranking(NamedTuple):
    """The input of a ranking loss, in which users count alike, however many targets they have.

    `users` [b, d] and `items` [n, d] are factors, scores their products times `temperature`;
    `taken` [b, n] is true where the user has the item already, which then is no negative;
    `target_users`, `target_items` [m] are the positives.
    """

    users: Tensor
    items: Tensor | ItemFactors
    temperature: Tensor
    taken: Tensor
    target_users: Tensor
    target_items: Tensor

    def against(self, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores of the targets [m] and, for their users, of the items `drawn` [s], [m, s].

        Also which of those are no negatives [m, s]: what the user has, and the target itself.
        """
        asked = self.users[self.target_users]
        own = (asked * self.items[self.target_items]).sum(dim=1) * self.temperature
        others = asked @ self.items[drawn].T * self.temperature
        same = drawn == self.target_items[:, None]
        return own, others, self.taken[self.target_users[:, None], drawn] | same

    def mean(self, losses: Tensor) -> Tensor:
        """Return the mean over users of the mean of each one's `losses` [m]."""
        losses = losses.float()  # a narrower type where the products are
        total, count = (
            torch.zeros(len(self.users), device=losses.device).index_add(0, self.target_users, some)
            for some in (losses, torch.ones_like(losses))
        )
        return (total / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


RankingLoss = Callable[[Ranking], Tensor]


def ranking_softmax(ranking: Ranking) -> Tensor:
    """Return the cross-entropy of each target against the whole catalogue.

    Raises TypeError where factors are made only when asked: a sampled loss is for those.
    """
    if not isinstance(ranking.items, Tensor):
        raise TypeError("a softmax over all items needs the factors of all items")
    scores = (ranking.users @ ranking.items.T) * ranking.temperature
    scores = scores.masked_fill(ranking.taken, -torch.inf)
    log_probability = nn.functional.log_softmax(scores, dim=1)
    return ranking.mean(-log_probability[ranking.target_users, ranking.target_items])


class SampledSoftmax:
    """Softmax of each target against `count` drawn items, corrected for how often each is drawn.

    Items are drawn by `popularity` [n], and log(expected draws) is taken off their scores (logQ;
    Bengio and Senecal, 2008; Yi et al., RecSys 2019).
    """

    def __init__(self, popularity: Tensor, count: int) -> None:
        self._shares = (popularity + 1.0) / (popularity + 1.0).sum()
        self._count = count

    def __call__(self, ranking: Ranking) -> Tensor:
        """Return what `ranking_softmax` estimates."""
        shares = self._shares.to(ranking.users.device)
        drawn = torch.multinomial(shares, self._count, replacement=True)
        correction = (shares * self._count).log()
        own, others, excluded = ranking.against(drawn)
        others = (others - correction[drawn]).masked_fill(excluded, -torch.inf)
        logits = torch.cat([own[:, None], others], dim=1)
        return ranking.mean(-nn.functional.log_softmax(logits, dim=1)[:, 0])


class GeneralisedBce:
    """gBCE: binary cross-entropy against `count` drawn items, with less confident positives.

    Petrov and Macdonald, "gSASRec", RecSys 2023, with calibration t = .75: a positive's
    probability is raised to the power of beta.
    """

    CALIBRATION = 0.75

    def __init__(self, items: int, count: int) -> None:
        self._items, self._count = items, min(count, items - 1)
        rate = self._count / (items - 1)
        self._power = rate * (self.CALIBRATION * (1.0 - 1.0 / rate) + 1.0 / rate)

    def __call__(self, ranking: Ranking) -> Tensor:
        """Return the loss."""
        drawn = torch.randint(self._items, (self._count,), device=ranking.users.device)
        own, others, excluded = ranking.against(drawn)
        against = nn.functional.softplus(others).masked_fill(excluded, 0.0).sum(dim=1)
        losses = -self._power * nn.functional.logsigmoid(own) + against
        return ranking.mean(losses / self._count)


def likeness_loss(vectors: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared error of the cosines [m, m] of texts against a teacher's.

    `vectors` are [m, w] and `teacher` [m, v] (relations, not positions, are taught: Park et al.,
    "Relational knowledge distillation", CVPR 2019).
    """
    own, other = (nn.functional.normalize(rows, dim=-1) for rows in (vectors, teacher))
    return nn.functional.mse_loss(own @ own.T, other @ other.T)


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
