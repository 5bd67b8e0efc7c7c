"""The language model as a text encoder: tokens in, one vector out.

- Prompt, pooling and normalisation are those that the encoder was trained with
  (`sentence_config.py`; Reimers and Gurevych, "Sentence-BERT", EMNLP 2019).
- Its layers are run here one by one, so that training can start from the kept output of the lower
  ones (`trunk.py`).

Trade-off: only BERT-like models, whose layers can be run one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models.data.arrays import Factors, Numbers, Rows
from models.data.texts import length_buckets
from models.network.loading import layers_of
from models.network.sentence_config import SentenceConfig


@dataclass(frozen=True)
class Tokens:
    """Token ids of texts, each without padding."""

    ids: list[list[int]]

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each text."""
        return [len(ids) for ids in self.ids]

    def batch(self, rows: Rows, padding: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return ids [b, l] and mask [b, l] of the texts `rows`, padded to the longest."""
        width = max(len(self.ids[row]) for row in rows)
        ids = np.full((len(rows), width), padding, dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for position, row in enumerate(rows):
            length = len(self.ids[row])
            ids[position, :length] = self.ids[row]
            mask[position, :length] = 1
        return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


class TextEncoder(nn.Module):
    """A BERT-like encoder and how its tokens become a vector."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sentences: SentenceConfig,
        max_tokens: int,
    ) -> None:
        """Read at most `max_tokens` of a text, and no more than the encoder was trained for."""
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.sentences = sentences
        self.cut_at(max_tokens)

    def cut_at(self, max_tokens: int) -> None:
        """Read at most `max_tokens` of a text from now on, or what the encoder can take."""
        positions = int(self.model.config.max_position_embeddings) - 2
        self.max_tokens = min(max_tokens, positions, self.sentences.max_tokens or positions)

    @property
    def width(self) -> int:
        """Number of dimensions of a text vector."""
        return int(self.model.config.hidden_size)

    @property
    def device(self) -> torch.device:
        """Device that holds the weights."""
        return self.model.device

    @property
    def padding(self) -> int:
        """Token id that fills a batch up."""
        return int(self.tokenizer.pad_token_id or 0)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Return the token ids of `texts`, the prompt before each, cut at `max_tokens`."""
        prompted = [self.sentences.prompt + text for text in texts]
        encoded = self.tokenizer(prompted, truncation=True, max_length=self.max_tokens)
        return Tokens(cast(list[list[int]], encoded["input_ids"]))

    def unknown_shares(self, texts: Sequence[str]) -> Numbers:
        """Return the share [n] of each text's word pieces that the tokenizer doesn't know."""
        unknown, special = self.tokenizer.unk_token_id, set(self.tokenizer.all_special_ids)
        counts = np.zeros((len(texts), 2))
        for row, ids in enumerate(self.tokenize(texts).ids):
            pieces = [piece for piece in ids if piece == unknown or piece not in special]
            counts[row] = pieces.count(cast(int, unknown)), max(len(pieces), 1)
        return np.asarray(counts[:, 0] / counts[:, 1])

    def states(self, ids: Tensor, mask: Tensor, layers: int) -> Tensor:
        """Return the hidden states [b, l, w] after the first `layers` layers."""
        return self._through(self._embedded(ids), mask, layers_of(self.model)[:layers])

    def pooled(self, hidden: Tensor, mask: Tensor, first_layer: int) -> Tensor:
        """Return vectors [b, w] from the hidden states that enter layer `first_layer`."""
        hidden = self._through(hidden, mask, layers_of(self.model)[first_layer:])
        return self.sentences.pooled(hidden, mask)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return vectors [b, w] for token ids [b, l]."""
        return self.pooled(self._embedded(ids), mask, 0)

    def _embedded(self, ids: Tensor) -> Tensor:
        embeddings = cast(nn.Module, self.model.embeddings)
        return cast(Tensor, embeddings(input_ids=ids))

    def _through(self, hidden: Tensor, mask: Tensor, layers: nn.Module) -> Tensor:
        blocked = (1.0 - mask[:, None, None, :].to(hidden.dtype)) * torch.finfo(hidden.dtype).min
        for layer in cast(nn.ModuleList, layers):
            output = layer(hidden, attention_mask=blocked)
            hidden = output[0] if isinstance(output, tuple) else output
        return hidden

    @torch.no_grad()
    def vectors(self, texts: Sequence[str], batch: int = 64) -> Factors:
        """Return the vectors [n, w] of `texts`, without dropout or gradients."""
        was_training = self.training
        self.eval()
        tokens = self.tokenize(texts)
        result = np.zeros((len(texts), self.width), dtype=np.float32)
        for rows in length_buckets(tokens.lengths, batch):
            ids, mask = tokens.batch(rows, self.padding, self.device)
            result[rows] = self(ids, mask).float().cpu().numpy()
        self.train(was_training)
        return result
