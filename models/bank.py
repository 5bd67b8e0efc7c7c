"""The text bank and the model under training: few texts fresh, the rest kept.

- A bank keeps the vectors of all texts. Each step encodes one bucket of items, and the profiles of
  the batch, through the trained layers and puts them into the bank, with gradients.

Trade-off: kept vectors lag behind the weights by up to one pass over the catalogue, which the low
learning rate of the language model keeps small; before every validation all are renewed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.dataset import Rows
from models.encoder import FrozenTrunk, TextEncoder, layers_of
from models.losses import interest_loss, ranking_softmax, score_distillation
from models.network import TwoTowers, unit
from models.texts import length_buckets


@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses beside the ranking softmax, which has weight one."""

    interest: float
    distillation: float


class TextBank(nn.Module):
    """Vectors of all texts; the trained layers renew a few of them at every step."""

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
        for layer in layers_of(encoder.model)[self.first_layer :]:
            layer.requires_grad_(True)
        self._trunk = FrozenTrunk(encoder, texts, self.first_layer)
        self.item_lengths = self._trunk.lengths[:n_items]
        self.register_buffer("vectors", torch.zeros(len(texts), encoder.width))
        self.renew()

    @torch.no_grad()
    def renew(self) -> None:
        """Encode every text with the present weights, without dropout."""
        self.encoder.eval()
        for rows in length_buckets(self._trunk.lengths, 64):
            self.vectors[torch.from_numpy(rows)] = self._encode(rows)

    def forward(self, groups: Sequence[Rows]) -> Tensor:
        """Return all vectors [t, w]; those of the rows in `groups` are fresh, with gradients."""
        vectors = self.vectors.clone()
        if self.first_layer == len(layers_of(self.encoder.model)):
            return vectors
        for rows in groups:
            fresh = self._encode(rows)
            index = torch.from_numpy(rows).to(vectors.device)
            vectors = vectors.index_copy(0, index, fresh)
        self.vectors.copy_(vectors.detach())
        return vectors

    def _encode(self, rows: Rows) -> Tensor:
        hidden, mask = self._trunk.batch(rows, self.vectors.device)
        return self.encoder.pooled(hidden, mask, self.first_layer)


class FinetunedModel(nn.Module):
    """Bank and towers under the losses of both tasks.

    `sums` [n, d + h] is what attributes add to the factors of items; `probe` [n] marks the items
    whose own factors stay out of the training, so that they tell how well texts stand in.
    """

    sums: Tensor
    probe: Tensor

    def __init__(
        self, bank: TextBank, towers: TwoTowers, probe: Tensor, weights: LossWeights
    ) -> None:
        super().__init__()
        self.bank = bank
        self.towers = towers
        self.weights = weights
        width = towers.own_ranking.shape[1] + towers.own_history.shape[1]
        self.register_buffer("sums", torch.zeros(bank.n_items, width))
        self.register_buffer("probe", probe)

    def split_sums(self) -> tuple[Tensor, Tensor]:
        """Return the attribute sums of ranking [n, d] and history factors [n, h]."""
        size = self.towers.own_ranking.shape[1]
        return self.sums[:, :size], self.sums[:, size:]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted loss and its terms for a batch of `Collator`."""
        groups = [batch[name].cpu().numpy() for name in ("bucket", "profile_rows")]
        vectors = self.bank(groups)
        texts, sums = vectors[: self.bank.n_items], self.split_sums()
        ranking, history = self.towers.item_factors(texts, *sums, without=self.probe)
        users = self.towers.user_factors(
            vectors[batch["profiles"]],
            history,
            batch["items"],
            batch["ages"],
            torch.zeros(len(batch["items"]), device=vectors.device),
        )
        scores = users @ ranking.T
        rank = ranking_softmax(
            scores * self.towers.temperature,
            batch["taken"] | self.probe,
            *_without(self.probe, batch["target_users"], batch["target_items"]),
        )
        interest = self._interest(scores, texts, ranking, batch)
        distilled = self._distilled(unit(users.detach()), texts, batch["bucket"])
        loss = rank + self.weights.interest * interest + self.weights.distillation * distilled
        terms = {"ranking": rank, "interest": interest, "distillation": distilled}
        return {"loss": loss, **{name: term.detach() for name, term in terms.items()}}

    def _interest(
        self, scores: Tensor, texts: Tensor, ranking: Tensor, batch: dict[str, Tensor]
    ) -> Tensor:
        users, items = batch["pair_users"], batch["pair_items"]
        levels = self.towers.interest.levels(texts, ranking)[items]
        logits = self.towers.interest(scores[users, items], levels, batch["user_levels"][users])
        return interest_loss(logits, batch["labels"])

    def _distilled(self, users: Tensor, texts: Tensor, bucket: Tensor) -> Tensor:
        """Return how far texts are from giving `users` the scores of a bucket's own factors."""
        rows = bucket[(self.towers.known & ~self.probe)[bucket]]
        ranking_sum, history_sum = self.split_sums()
        ranking, _ = self.towers.items(texts[rows], ranking_sum[rows], history_sum[rows])
        return score_distillation(users @ ranking.T, users @ self.towers.own_ranking[rows].T)


def _without(probe: Tensor, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    kept = ~probe[items]
    return users[kept], items[kept]
