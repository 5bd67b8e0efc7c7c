"""The text bank and the model under training: fresh vectors for a few texts, kept ones for the rest.

- A bank keeps the vectors of all texts. Each step encodes one bucket of items, and the profiles of
  the batch, through the trained layers and puts them into the bank, with gradients.

Trade-off: kept vectors lag behind the weights by up to one pass over the catalogue, which the low
learning rate of the language model keeps small; before every validation all are renewed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.dataset import Rows
from models.encoder import FrozenTrunk, TextEncoder, layers_of
from models.losses import interest_loss, ranking_softmax
from models.network import TwoTowers
from models.texts import length_buckets


class TextBank(nn.Module):
    """Vectors of all texts; the trained layers renew a few of them at every step."""

    vectors: Tensor

    def __init__(self, encoder: TextEncoder, texts: Sequence[str], n_items: int, tuned: int):
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
    """Bank and towers under the two losses."""

    def __init__(self, bank: TextBank, towers: TwoTowers, interest_weight: float) -> None:
        super().__init__()
        self.bank = bank
        self.towers = towers
        self.interest_weight = interest_weight

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted loss and its terms for a batch of `collate`."""
        groups = [batch[name].cpu().numpy() for name in ("bucket", "profile_rows")]
        vectors = self.bank(groups)
        ranking, history, levels = self.towers.item_factors(vectors[: self.bank.n_items])
        users = self.towers.user_factors(
            vectors[batch["profiles"]], history, batch["items"], batch["ages"]
        )
        scores = users @ ranking.T
        rank = ranking_softmax(scores, batch["taken"], batch["target_users"], batch["target_items"])
        pair_users, pair_items = batch["pair_users"], batch["pair_items"]
        logits = self.towers.interest(
            scores[pair_users, pair_items], levels[pair_items], batch["user_levels"][pair_users]
        )
        interest = interest_loss(logits, batch["labels"])
        return {
            "loss": rank + self.interest_weight * interest,
            "ranking": rank.detach(),
            "interest": interest.detach(),
        }
