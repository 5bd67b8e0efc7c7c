"""The text bank and the model under training: a few items fresh, all others kept.

- A bank keeps the vectors of all texts; validation renews them.
- Each step takes away the own factors of one bucket of items, which the language model then has to
  make up for from their texts, with gradients; all other items stand as they are.

Trade-off: gradients reach the language model through items alone; profiles are short and say
little, and keep the vectors of the last validation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.dataset import Factors, Rows
from models.encoder import FrozenTrunk, TextEncoder, layers_of
from models.losses import (
    LossMix,
    cosine_alignment,
    distillation_loss,
    interest_loss,
    ranking_softmax,
    rating_loss,
)
from models.network import TwoTowers
from models.texts import length_buckets


class TextBank(nn.Module):
    """Vectors of all texts; the top `tuned` layers are trained, those below run once."""

    vectors: Tensor

    def __init__(
        self, encoder: TextEncoder, texts: Sequence[str], n_items: int, tuned: int
    ) -> None:
        super().__init__()
        depth = len(layers_of(encoder.model))
        self.encoder = encoder
        self.first_layer = depth - min(tuned, depth)
        self.n_items = n_items
        for parameter in encoder.parameters():
            parameter.requires_grad = False
        for layer in self.tuned_layers:
            layer.requires_grad_(True)
        self._trunk = FrozenTrunk(encoder, texts, self.first_layer)
        self.lengths = self._trunk.lengths
        self.register_buffer("vectors", torch.zeros(len(texts), encoder.width))
        self.renew()

    @property
    def tuned_layers(self) -> list[nn.Module]:
        """The layers above the trunk, the lowest first."""
        return list(layers_of(self.encoder.model)[self.first_layer :])

    @property
    def items(self) -> Tensor:
        """Kept vectors of the items [n, w]."""
        return self.vectors[: self.n_items]

    @torch.no_grad()
    def renew(self) -> None:
        """Encode every text with the present weights, without dropout."""
        self.encoder.eval()
        for rows in length_buckets(self.lengths, 64):
            self.vectors[torch.from_numpy(rows)] = self(rows)

    def forward(self, rows: Rows) -> Tensor:
        """Return fresh vectors [m, w] of the texts `rows`."""
        hidden, mask = self._trunk.batch(rows, self.vectors.device)
        return self.encoder.pooled(hidden, mask, self.first_layer)


class FinetunedModel(nn.Module):
    """Bank and towers under the losses.

    `sums` [n, d + h] is what attributes add to the factors of items; `probe` [n] marks the items
    whose own factors stay out of the training, so that they tell how well texts stand in;
    `teacher` [n, t] are the factors that texts are to tell of known items.
    """

    sums: Tensor
    probe: Tensor
    teacher: Tensor

    def __init__(
        self, bank: TextBank, towers: TwoTowers, probe: Tensor, teacher: Factors, mix: LossMix
    ) -> None:
        super().__init__()
        self.bank = bank
        self.towers = towers
        self.mix = mix
        self.student = nn.Linear(bank.encoder.width, teacher.shape[1])
        width = towers.own_ranking.shape[1] + towers.own_history.shape[1]
        self.register_buffer("sums", torch.zeros(bank.n_items, width))
        self.register_buffer("probe", probe)
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
        ranking, history = self.item_factors(self.probe)
        users = self.towers.user_factors(
            self.bank.vectors[batch["profiles"]],
            history,
            batch["items"],
            batch["ages"],
            torch.zeros(len(batch["items"]), device=rows.device),
        )
        texts = self.bank(rows.cpu().numpy())
        fresh, _ = self.towers.items(texts, *self.split_sums(rows))
        terms = self._terms(batch, users, texts, ranking.index_copy(0, rows, fresh))
        detached = {name: term.detach() for name, term in terms.items()}
        return {"loss": self.mix(terms), **detached}

    def _terms(
        self, batch: dict[str, Tensor], users: Tensor, texts: Tensor, ranking: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses that have a weight; pairs name places in the bucket."""
        rows, wanted = batch["bucket"], self.mix.weights
        places, pair_users = batch["pair_places"], batch["pair_users"]
        terms = {}
        if "distillation" in wanted:
            terms["distillation"] = distillation_loss(self.student(texts), self.teacher[rows])
        if "ranking" in wanted:
            scores = (users @ ranking.T) * self.towers.temperature
            targets = batch["target_users"], rows[batch["target_places"]]
            terms["ranking"] = ranking_softmax(scores, batch["taken"] | self.probe, *targets)
        if {"interest", "rating"} & set(wanted):
            scores = (users[pair_users] * ranking[rows[places]]).sum(dim=1)
            levels = batch["user_levels"][pair_users]
            heads = self.towers.interest(texts[places], scores, levels)
            terms["interest"] = interest_loss(heads[:, 0], batch["labels"])
            terms["rating"] = rating_loss(heads[:, 1], batch["values"])
        if "cosine" in wanted:
            liked = ranking[rows[batch["target_places"]]]
            terms["cosine"] = cosine_alignment(users[batch["target_users"]], liked)
        return {name: terms[name] for name in wanted}
