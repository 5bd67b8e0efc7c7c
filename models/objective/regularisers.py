"""Penalties that keep a language model near its pretrained state, against forgetting.

- `Anchor`: the squared distance of the tuned weights from their start (L2-SP; Li, Grandvalet and
  Davoine, ICML 2018).
- `Replay`: the distance of general sentences' vectors from their pretrained ones.

Trade-off: both make it harder to learn from the corpus; both are off by default.
"""

import torch
from torch import Tensor

from models.data.arrays import Rows
from models.objective.bank import TextBank


class Anchor:
    """The squared distance of weights from their values at construction, times `weight`."""

    def __init__(self, bank: TextBank, weight: float) -> None:
        self._weights = [w for w in bank.parameters() if w.requires_grad]
        self._start = [w.detach().clone() for w in self._weights]
        self._weight = weight

    def __call__(self) -> Tensor:
        """Return the penalty of the current weights."""
        apart = [
            (w - start.to(w.device)).square().sum()
            for w, start in zip(self._weights, self._start, strict=True)
        ]
        return self._weight * torch.stack(apart).sum()


class Replay:
    """The distance of the texts `rows` of the bank from their first vectors, for a random few."""

    DRAWN = 8

    def __init__(self, bank: TextBank, rows: Rows, weight: float) -> None:
        self._bank = bank
        self._rows = rows
        self._start = bank.vectors[torch.from_numpy(rows)].clone()
        self._weight = weight

    def __call__(self) -> Tensor:
        """Return the penalty: 1 - cosine, on average."""
        drawn = torch.randperm(len(self._rows))[: self.DRAWN]
        fresh = self._bank(self._rows[drawn.numpy()])
        cosines = (fresh * self._start[drawn].to(fresh.device)).sum(dim=1)
        penalty: Tensor = self._weight * (1.0 - cosines).mean()
        return penalty
