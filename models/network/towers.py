"""The network: two towers on one language model, meeting in one dot product.

- Item tower: ranking factors (how an item is found) and history factors (what liking it says) as
  a linear map of the item's text vector plus the sum of its attributes' factors. Known items have
  factors of their own, learned from interactions; training drops those of a few items at a time,
  so that texts learn to stand in for them (as in DropoutNet, Volkovs et al., 2017).
- User tower: the recency-weighted sum of the history factors of the items, the liked ones counting
  most, a unit vector for each block; a linear map of the profile's text vector; and weights of the
  popularity dimensions that fall with the length of the history and rise with the time since the
  last interaction.
- Interest head: whether a user likes an item once seen, from the same dot product, the item's text
  and the user's generosity.

Trade-off: histories are weighed by age alone, without attention between items: a user's factors
are one gather and one weighted sum, cheap enough to compute for everybody every night.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast

import torch
from scipy import sparse
from torch import Tensor, nn

from models.data.arrays import Factors
from models.factors.blocks import HistoryWeights
from models.factors.popularity import Popularity
from models.factors.start import Start
from models.factors.text_map import TextMap, solve_text_map


class ItemTower(nn.Module):
    """Text vectors and attribute sums to factors, for items without factors of their own."""

    def __init__(self, text_dim: int, ranking: int, history: int) -> None:
        super().__init__()
        self.ranking = nn.Linear(text_dim, ranking)
        self.history = nn.Linear(text_dim, history)

    def forward(
        self, text_vectors: Tensor, ranking_sum: Tensor, history_sum: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ranking [n, d] and history factors [n, h] from text vectors [n, w] and sums."""
        return self.ranking(text_vectors) + ranking_sum, self.history(text_vectors) + history_sum


@dataclass(frozen=True)
class Contexts:
    """How each user is weighed [b] by what is known of them and how long they have been away.

    `away` is 0 just after the newest positive and 1 after days, `known_well` 0 for a new user and 1
    for one with many positives, `profile` the weight of the profile, `popularity` [b, 4] those of
    the popularity dimensions.
    """

    away: Tensor
    known_well: Tensor
    profile: Tensor
    popularity: Tensor

    @classmethod
    def of(cls, known: Tensor, idle_days: Tensor, weighing: Popularity) -> Self:
        """Take the number of `known` positives [b] and the days since the newest [b]."""
        away = 1.0 - 0.5 ** (idle_days.clamp(min=0.0) / weighing.idle_half_life)
        share = 0.5 ** (known / weighing.half_length)
        back = away * weighing.unknown * share
        here = (1.0 - away) * weighing.unknown_visiting * share
        known_well = 1.0 - share
        settled = known_well.unsqueeze(1) * (
            away.unsqueeze(1) * share.new_tensor(weighing.returning)
            + (1.0 - away).unsqueeze(1) * share.new_tensor(weighing.visiting)
        )
        nothing = torch.zeros_like(share)
        weights = settled + torch.stack([nothing, here, nothing, back], dim=1)
        return cls(away, known_well, weighing.profile * (here + back), weights)


def block_gains(weights: Sequence[HistoryWeights], contexts: Contexts) -> list[Tensor]:
    """Return the length of each block's part of the user vectors [b]."""
    return [each.gain + contexts.away * (each.away - each.gain) for each in weights]


class UserTower(nn.Module):
    """Profile vectors and histories to user factors."""

    floor: Tensor
    half_life: Tensor
    below: Tensor
    profile_mean: Tensor
    profile_weights: Tensor

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.blocks = start.blocks
        self.popularity = start.popularity
        self.weigh(start.blocks)
        self.register_buffer("profile_mean", torch.from_numpy(start.profile_mean))
        self.register_buffer("profile_weights", torch.from_numpy(start.profile_weights))

    def weigh(self, weights: Sequence[HistoryWeights]) -> None:
        """Weigh the items of histories by other `weights`, one for each block.

        The lengths of the blocks' parts of a user vector stay (`gain`, `away`).
        """
        sizes = torch.tensor([block.size for block in self.blocks])
        for name in ("floor", "half_life", "below"):
            values = torch.tensor([getattr(one, name) for one in weights])
            self.register_buffer(name, values.float().repeat_interleave(sizes))

    def forward(
        self,
        profiles: Tensor,
        history_factors: Tensor,
        items: Tensor,
        ages: Tensor,
        liked: Tensor,
        idle_days: Tensor,
    ) -> Tensor:
        """Return user factors [b, d].

        `profiles` [b, w]; `history_factors` [n + 1, h] with a last row of zeros; `items` [b, l]
        rows of it, n where there is none; `ages` [b, l] in interactions, 0 for the newest;
        `liked` [b, l], 1 or 0; `idle_days` [b] since the newest.
        """
        units = self.history_units(history_factors, items, ages, liked)
        known = liked.to(history_factors.dtype).sum(dim=1)
        contexts = Contexts.of(known, idle_days, self.popularity)
        parts = [
            gain.unsqueeze(1) * one
            for gain, one in zip(block_gains(self.blocks, contexts), units, strict=True)
        ]
        profile = contexts.profile.unsqueeze(1) * self.profile_units(profiles)
        return torch.cat([*parts, profile, contexts.popularity], dim=1)

    def history_units(
        self, history_factors: Tensor, items: Tensor, ages: Tensor, liked: Tensor
    ) -> list[Tensor]:
        """Return what the histories say in each block: unit vectors [b, size]; see `forward`."""
        grades = self.below + liked.unsqueeze(-1) * (1.0 - self.below)
        weights = grades * (self.floor + 0.5 ** (ages.unsqueeze(-1) / self.half_life))
        summed = (history_factors[items] * weights).sum(dim=1)
        sizes = [block.size for block in self.blocks]
        return [unit(part) for part in torch.split(summed, sizes, dim=1)]

    def profile_units(self, profiles: Tensor) -> Tensor:
        """Return what profile vectors [b, w] say: unit vectors [b, p]."""
        return unit((profiles - self.profile_mean) @ self.profile_weights)


def unit(rows: Tensor) -> Tensor:
    """Return rows [b, r] of length one; rows of zeros stay."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / lengths.clamp(min=1e-9)


class InterestHead(nn.Module):
    """What a user thinks of an item once seen: the logit of liking it, and its rating.

    It teaches the language model; the probabilities that are told are those of
    `models.evaluation.interest`, fitted and calibrated once the vectors stand.
    """

    def __init__(self, text_dim: int) -> None:
        super().__init__()
        self.level = nn.Linear(text_dim, 2)
        self.scale = nn.Parameter(torch.tensor([0.3, 0.3]))
        self.generosity = nn.Parameter(torch.tensor([1.0, 0.5]))
        nn.init.zeros_(self.level.weight)
        nn.init.zeros_(self.level.bias)

    def forward(self, text_vectors: Tensor, scores: Tensor, user_levels: Tensor) -> Tensor:
        """Return logits and standardised ratings [m, 2] of pairs.

        `text_vectors` [m, w] of the items, `scores` [m], and the users' log-odds of liking [m].
        """
        own: Tensor = self.level(text_vectors)
        return own + self.scale * scores[:, None] + self.generosity * user_levels[:, None]


class TwoTowers(nn.Module):
    """Both towers, the interest head and the factors of the known items."""

    own_ranking: Tensor
    own_history: Tensor
    known: Tensor

    def __init__(self, text_dim: int, start: Start) -> None:
        super().__init__()
        ranking, history = start.ranking.shape[1], start.history.shape[1]
        self.items = ItemTower(text_dim, ranking, history)
        self.users = UserTower(start)
        self.interest = InterestHead(text_dim)
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("own_ranking", torch.from_numpy(start.ranking))
        self.register_buffer("own_history", torch.from_numpy(start.history))
        self.register_buffer("known", torch.from_numpy(start.known))

    def item_factors(
        self, text_vectors: Tensor, ranking_sum: Tensor, history_sum: Tensor, without: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ranking [n, d] and history factors [n, h]: an item's own, else those of its text.

        Items in `without` [n] go without their own.
        """
        rows = torch.nonzero(~self.known | without).squeeze(1)
        ranking, history = self.items(text_vectors[rows], ranking_sum[rows], history_sum[rows])
        return (
            self.own_ranking.index_copy(0, rows, ranking),
            self.own_history.index_copy(0, rows, history),
        )

    def factors_of(
        self, rows: Tensor, text_vectors: Tensor, sums: Tensor, without: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what `item_factors` does, of the items `rows` [m] alone.

        `text_vectors` [n, w], `sums` [n, d + h] and `without` [n] are those of all items.
        """
        size = self.own_ranking.shape[1]
        own = (self.known[rows] & ~without[rows]).unsqueeze(1)
        found = self.items(text_vectors[rows], sums[rows, :size], sums[rows, size:])
        return (
            torch.where(own, self.own_ranking[rows], found[0]),
            torch.where(own, self.own_history[rows], found[1]),
        )

    def user_factors(
        self,
        profiles: Tensor,
        history_factors: Tensor,
        items: Tensor,
        ages: Tensor,
        liked: Tensor,
        idle_days: Tensor,
    ) -> Tensor:
        """Return user factors [b, d] from history factors [n, h]; see `UserTower`."""
        padded = nn.functional.pad(history_factors, (0, 0, 0, 1))
        return cast(Tensor, self.users(profiles, padded, items, ages, liked, idle_days))

    def set_own(self, start: Start) -> None:
        """Replace the items' own factors, and what profiles mean, by those of another fit."""
        for buffer, values in (
            (self.own_ranking, start.ranking),
            (self.own_history, start.history),
            (self.known, start.known),
            (self.users.profile_weights, start.profile_weights),
            (self.users.profile_mean, start.profile_mean),
        ):
            buffer.copy_(torch.from_numpy(values))

    def fit_text_maps(self, vectors: Factors, columns: sparse.csr_array, known: Tensor) -> TextMap:
        """Fit the maps from text to the own factors of the `known` items [n], and keep them.

        `vectors` [n, w] are those of the items' texts, `columns` [n, c] their attributes; what
        attributes add stays with the caller.
        """
        targets = torch.cat([self.own_ranking, self.own_history], dim=1).cpu().numpy()
        solved = solve_text_map(vectors, columns, targets, known.cpu().numpy())
        weights, bias = torch.from_numpy(solved.weights), torch.from_numpy(solved.bias)
        size = self.own_ranking.shape[1]
        with torch.no_grad():
            self.items.ranking.weight.copy_(weights[:, :size].T)
            self.items.history.weight.copy_(weights[:, size:].T)
            self.items.ranking.bias.copy_(bias[:size])
            self.items.history.bias.copy_(bias[size:])
        return solved
