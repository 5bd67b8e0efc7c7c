"""The text bank and the model under training: a step encodes a few items, and caches all others.

- A bank caches the vectors of all texts; each validation computes them anew. In training a text may
  be replaced by one of its varied copies.
- Each step withholds the own factors of one bucket of items. The language model predicts them from
  the items' texts and is trained by the error; all other items keep their factors.

- Up to `LARGE_ITEMS` items a step computes the factors of all; beyond, of those alone that the
  step is about: its bucket, its users' histories and the items that its loss draws.

Trade-off: the language model is trained through the texts of items alone. Profiles are short and
say little; they keep the vectors of the last validation.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from models.data.arrays import Factors, Rows
from models.data.texts import length_buckets
from models.network.adaptation.method import Adaptation
from models.network.losses import (
    LossMix,
    Ranking,
    RankingLoss,
    cosine_alignment,
    distillation_loss,
    interest_loss,
    rating_loss,
)
from models.network.processes import gather_rows, rows_of_process
from models.network.towers import TwoTowers
from models.network.trunk import FrozenTrunk

LARGE_ITEMS = 20_000

BucketTerm = Callable[[Tensor, Tensor], Tensor]  # of rows [m] and their fresh vectors [m, w]
Penalty = Callable[[], Tensor]


class TextBank(nn.Module):
    """Vectors of all texts; the layers of `adaptation` are trained, those below run once.

    `copies` are varied copies of the first texts, as many of each.
    """

    vectors: Tensor

    def __init__(
        self,
        adaptation: Adaptation,
        texts: Sequence[str],
        n_items: int,
        copies: Sequence[Sequence[str]] = (),
    ) -> None:
        super().__init__()
        self.encoder = adaptation.encoder
        self.adaptation = adaptation
        self.n_items = n_items
        varied = [copy for of_one in copies for copy in of_one]
        self._trunk = FrozenTrunk(self.encoder, [*texts, *varied], adaptation.first_layer)
        self.lengths = self._trunk.lengths[: len(texts)]
        self._copied, self._copies = len(copies), len(copies[0]) if copies else 0
        self.register_buffer("vectors", torch.zeros(len(texts), self.encoder.width))
        self.renew()

    @property
    def items(self) -> Tensor:
        """Kept vectors of the items [n, w]."""
        return self.vectors[: self.n_items]

    @torch.no_grad()
    def renew(self) -> None:
        """Encode every text with the current weights, without dropout."""
        was_training = self.training
        self.eval()
        for rows in length_buckets(self.lengths, 64):
            self.vectors[torch.from_numpy(rows)] = self(rows).float()
        self.train(was_training)

    def forward(self, rows: Rows) -> Tensor:
        """Return new vectors [m, w] of the texts `rows`, in training of their copies too."""
        if self.training and self._copies:
            rows = self._drawn(rows)
        hidden, mask = self._trunk.batch(rows, self.vectors.device)
        return self.encoder.pooled(hidden, mask, self.adaptation.first_layer)

    def _drawn(self, rows: Rows) -> Rows:
        """Return for each text its own row or that of one of its copies, all equally likely."""
        drawn = torch.randint(self._copies + 1, (len(rows),)).numpy()
        own = (drawn == self._copies) | (rows >= self._copied)
        return np.where(own, rows, len(self.lengths) + rows * self._copies + drawn)


class FinetunedModel(nn.Module):
    """The bank and the towers with their losses.

    `sums` [n, d + h] is what attributes add to the factors of items; `withheld` [n] marks the items
    whose own factors stay out of the training, to validate how well texts replace them;
    `teacher` [n, t] are the factors of known items to be predicted from texts; `terms` are further
    losses of a bucket's texts, `penalties` are added whatever the batch is.
    """

    sums: Tensor
    withheld: Tensor
    teacher: Tensor

    def __init__(
        self,
        bank: TextBank,
        towers: TwoTowers,
        withheld: Tensor,
        teacher: Factors,
        mix: LossMix,
        ranking_loss: RankingLoss,
        terms: Mapping[str, BucketTerm],
        penalties: Mapping[str, Penalty],
    ) -> None:
        super().__init__()
        self.bank = bank
        self.towers = towers
        self.mix = mix
        self.ranking_loss = ranking_loss
        self._terms_of_buckets = dict(terms)
        self._penalties = dict(penalties)
        self.student = nn.Linear(bank.encoder.width, teacher.shape[1])
        width = towers.own_ranking.shape[1] + towers.own_history.shape[1]
        self.register_buffer("sums", torch.zeros(bank.n_items, width))
        self.register_buffer("withheld", withheld)
        self.register_buffer("teacher", torch.from_numpy(teacher))

    def split_sums(self, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return the attribute sums of ranking [m, d] and history factors [m, h] of items."""
        size = self.towers.own_ranking.shape[1]
        return self.sums[rows, :size], self.sums[rows, size:]

    @torch.no_grad()
    def item_factors(self, without: Tensor) -> tuple[Tensor, Tensor]:
        """Return ranking [n, d] and history factors [n, h] from the kept vectors."""
        return self.towers.item_factors(self.bank.items, *self.split_sums(slice(None)), without)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the mixed loss and its terms for a batch of `Collator`."""
        rows = batch["bucket"]
        large = self.bank.n_items > LARGE_ITEMS
        if large:
            history, items = self._asked_history(batch["items"])
        else:
            ranking, history = self.item_factors(self.withheld)
            items = batch["items"]
        users = self.towers.user_factors(
            self.bank.vectors[batch["profiles"]],
            history,
            items,
            batch["ages"],
            batch["liked"],
            torch.zeros(len(items), device=rows.device),
        )
        texts = self._texts(rows)
        fresh, _ = self.towers.items(texts, *self.split_sums(rows))
        whole = (
            AskedItems(self, rows, fresh)
            if large
            else ranking.index_copy(0, rows, fresh.to(ranking.dtype))
        )
        terms = self._terms(batch, users, texts, whole)
        total = self.mix(terms)
        for name, penalty in self._penalties.items():
            terms[name] = penalty()
            total = total + terms[name]
        return {"loss": total, **{name: term.detach() for name, term in terms.items()}}

    def _asked_history(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return history factors [m, h] of the `items` [b, l] alone, and their rows in it [b, l].

        The row behind the last one stands for no item, as n does in `items`.
        """
        there = items < self.bank.n_items
        rows, places = torch.unique(items[there], return_inverse=True)
        found = torch.full_like(items, len(rows)).masked_scatter(there, places)
        return self.factors_of(rows)[1], found

    @torch.no_grad()
    def factors_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return ranking [m, d] and history factors [m, h] of `rows`, without the withheld ones."""
        return self.towers.factors_of(rows, self.bank.items, self.sums, self.withheld)

    def _texts(self, rows: Tensor) -> Tensor:
        """Return vectors [m, w] of the bucket's texts, of which each process encodes its share."""
        places = rows_of_process(len(rows))
        asked = rows.cpu().numpy()[places if len(places) else slice(1)]
        own = self.bank(asked).float()[: len(places)]
        return gather_rows(own, torch.from_numpy(places).to(rows.device), len(rows))

    def _terms(
        self,
        batch: dict[str, Tensor],
        users: Tensor,
        texts: Tensor,
        ranking: "Tensor | AskedItems",
    ) -> dict[str, Tensor]:
        """Return the losses that have a weight; `pair_places` are places in the bucket."""
        rows, wanted = batch["bucket"], self.mix.weights
        places, pair_users = batch["pair_places"], batch["pair_users"]
        terms = {name: term(rows, texts) for name, term in self._terms_of_buckets.items()}
        if "distillation" in wanted:
            terms["distillation"] = distillation_loss(self.student(texts), self.teacher[rows])
        if "ranking" in wanted:
            targets = batch["target_users"], rows[batch["target_places"]]
            taken = batch["taken"] | self.withheld
            asked = Ranking(users, ranking, self.towers.temperature, taken, *targets)
            terms["ranking"] = batch["share_of_ranking"] * self.ranking_loss(asked)
        if {"interest", "rating"} & set(wanted):
            scores = (users[pair_users] * ranking[rows[places]]).sum(dim=1)
            levels = batch["user_levels"][pair_users]
            heads = self.towers.interest(texts[places], scores, levels)
            share = batch["share_of_interest"]
            terms["interest"] = share * interest_loss(heads[:, 0], batch["labels"])
            terms["rating"] = share * rating_loss(heads[:, 1], batch["values"])
        if "cosine" in wanted:
            liked = ranking[rows[batch["target_places"]]]
            cosine = cosine_alignment(users[batch["target_users"]], liked)
            terms["cosine"] = batch["share_of_cosine"] * cosine
        return {name: terms[name] for name in wanted}


class AskedItems:
    """Ranking factors of the items that are asked for; those of a bucket are what texts predict."""

    def __init__(self, model: FinetunedModel, bucket: Tensor, fresh: Tensor) -> None:
        self._model = model
        self._fresh = fresh
        self._place = torch.full((model.bank.n_items,), -1, device=bucket.device)
        self._place[bucket] = torch.arange(len(bucket), device=bucket.device)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Return the factors [m, d] of `rows` [m]."""
        ranking, _ = self._model.factors_of(rows)
        places = self._place[rows]
        inside = (places >= 0).unsqueeze(1)
        return torch.where(inside, self._fresh[places.clamp(min=0)].to(ranking.dtype), ranking)
