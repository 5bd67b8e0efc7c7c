"""The network: two towers on one language model, meeting in one dot product.

- Item tower: a linear map of the item's text vector plus a collaborative part, an embedding that
  is dropped at random in training, so that an item without interactions still has factors.
  Each item has ranking factors (how it is found, with a bias) and history factors (what liking it
  says about a user), as in FISM (Kabbur et al., KDD 2013).
- User tower: a linear map of the profile's text vector plus the recency-weighted sum of the
  history factors of the liked items; every dimension learns its own half-life.
- Interest head: the probability that a user likes an item once seen, from the same dot product,
  the item's own level and the user's generosity.

Trade-off: histories are weighed by age alone, without attention between items: a user's factors
are one gather and one weighted sum, cheap enough to compute for everybody every night.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.dataset import Factors


@dataclass(frozen=True)
class Start:
    """Where training starts: collaborative factors and their recency weights.

    `ranking` [n, d + 1] with the bias last, `history` [n, d], `half_life` [d] in interactions,
    `floor` [d]: the weight that never fades.
    """

    ranking: Factors
    history: Factors
    half_life: Factors
    floor: Factors


class ItemTower(nn.Module):
    """Text vectors and collaborative parts to factors."""

    def __init__(self, text_dim: int, factors: int) -> None:
        super().__init__()
        self.ranking = nn.Linear(text_dim, factors + 1)
        self.history = nn.Linear(text_dim, factors)
        self.interest = nn.Linear(text_dim + factors + 1, 1)

    def forward(
        self, text_vectors: Tensor, ranking_part: Tensor, history_part: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return ranking factors [n, d + 1], history factors [n, d] and interest levels [n]."""
        ranking = self.ranking(text_vectors) + ranking_part
        history = self.history(text_vectors) + history_part
        interest = self.interest(torch.cat([text_vectors, ranking], dim=1)).squeeze(1)
        return ranking, history, interest


class UserTower(nn.Module):
    """Profile vectors and histories to user factors."""

    def __init__(self, text_dim: int, factors: int) -> None:
        super().__init__()
        self.profile = nn.Linear(text_dim, factors)
        self.log_half_life = nn.Parameter(torch.full((factors,), math.log(10.0)))
        self.floor = nn.Parameter(torch.full((factors,), 0.3))
        self.shrinkage = nn.Parameter(torch.tensor(0.5))

    def forward(
        self, profiles: Tensor, history_factors: Tensor, items: Tensor, ages: Tensor
    ) -> Tensor:
        """Return user factors [b, d + 1], the last dimension one.

        `profiles` [b, w]; `history_factors` [n + 1, d] with a last row of zeros; `items` [b, l]
        rows of it, n where there is none; `ages` [b, l] in interactions, 0 for the newest.
        """
        present = (items < history_factors.shape[0] - 1).to(history_factors.dtype)
        fading = torch.exp2(-ages.unsqueeze(-1) / torch.exp(self.log_half_life))
        weights = self.floor + fading
        summed = (history_factors[items] * weights).sum(dim=1)
        count = present.sum(dim=1, keepdim=True).clamp(min=1.0)
        user = summed / count**self.shrinkage + self.profile(profiles)
        return torch.cat([user, torch.ones_like(user[:, :1])], dim=1)


class InterestHead(nn.Module):
    """Logit of liking an item once seen."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.3))
        self.generosity = nn.Parameter(torch.tensor(1.0))

    def forward(self, scores: Tensor, item_levels: Tensor, user_levels: Tensor) -> Tensor:
        """Return logits [m] from scores, item levels and the users' log-odds of liking [m]."""
        return self.scale * scores + item_levels + self.generosity * user_levels


class TwoTowers(nn.Module):
    """Both towers, the interest head and the collaborative parts of the known items."""

    def __init__(self, text_dim: int, start: Start, dropout: float) -> None:
        super().__init__()
        factors = start.history.shape[1]
        self.items = ItemTower(text_dim, factors)
        self.users = UserTower(text_dim, factors)
        self.interest = InterestHead()
        self.ranking_part = nn.Parameter(torch.from_numpy(start.ranking.copy()))
        self.history_part = nn.Parameter(torch.from_numpy(start.history.copy()))
        self.dropout = dropout
        with torch.no_grad():
            self.users.log_half_life.copy_(torch.from_numpy(start.half_life).log())
            self.users.floor.copy_(torch.from_numpy(start.floor))

    def start_from_text(self, text_vectors: Tensor, ridge: float) -> None:
        """Fit the item tower's maps to the collaborative parts, which keep what text can't say.

        Ridge regression over the known items, text_vectors [n, w]; items without a collaborative
        part (all zeros) don't count.
        """
        with torch.no_grad():
            known = self.history_part.abs().sum(dim=1) > 0
            for layer, part in (
                (self.items.ranking, self.ranking_part),
                (self.items.history, self.history_part),
            ):
                weight, bias = _ridge(text_vectors[known], part[known], ridge)
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
                part[known] -= layer(text_vectors[known])
            nn.init.zeros_(self.users.profile.weight)
            nn.init.zeros_(self.users.profile.bias)

    def stretch(self, factor: float) -> None:
        """Multiply all scores by `factor`, half of it on each side of the product."""
        root = math.sqrt(factor)
        with torch.no_grad():
            for weights in (
                self.items.ranking.weight,
                self.items.ranking.bias,
                self.ranking_part,
                self.items.history.weight,
                self.items.history.bias,
                self.history_part,
            ):
                weights.mul_(root)
            self.items.ranking.weight[-1].mul_(root)
            self.items.ranking.bias[-1].mul_(root)
            self.ranking_part[:, -1].mul_(root)

    def item_factors(self, text_vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ranking [n, d + 1], history [n, d] and interest [n]; drops parts in training."""
        ranking, history = self.ranking_part, self.history_part
        if self.training and self.dropout > 0:
            kept = (torch.rand(len(ranking), 1, device=ranking.device) >= self.dropout).float()
            ranking, history = ranking * kept, history * kept
        factors: tuple[Tensor, Tensor, Tensor] = self.items(text_vectors, ranking, history)
        return factors

    def user_factors(
        self, profiles: Tensor, history_factors: Tensor, items: Tensor, ages: Tensor
    ) -> Tensor:
        """Return user factors [b, d + 1] from history factors [n, d]; see `UserTower`."""
        padded = nn.functional.pad(history_factors, (0, 0, 0, 1))
        users: Tensor = self.users(profiles, padded, items, ages)
        return users


def _ridge(inputs: Tensor, targets: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    mean_in, mean_out = inputs.mean(dim=0), targets.mean(dim=0)
    centred = (inputs - mean_in).double()
    gram = centred.T @ centred + penalty * torch.eye(
        inputs.shape[1], dtype=torch.float64, device=inputs.device
    )
    solution = torch.linalg.solve(gram, centred.T @ (targets - mean_out).double())
    weight = solution.T.to(inputs.dtype)
    return weight, mean_out - weight @ mean_in
