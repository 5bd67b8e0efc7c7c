"""Vocabulary trimming: word pieces that the corpus never uses are removed from an encoder.

- Kept are: special tokens, every single character at the start and inside of a word, the pieces
  of the corpus, and a margin of the vocabulary's first pieces, which are the most frequent ones.
- WordPiece takes the longest piece it knows, from the left. A text whose pieces are all kept is
  tokenised as before; any other word is split into shorter pieces, at worst into its characters,
  and becomes [UNK] only if it did before.
- BPE and unigram vocabularies are left unchanged: without some of their pieces they would tokenise
  texts differently whose own pieces are all kept.

Trade-off: words that first appear after the export are split into shorter pieces than those that
the language model was trained on.
"""

import copy
import json
import logging
from collections.abc import Sequence
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerFast

from models.network.encoder import TextEncoder

_log = logging.getLogger("nightrank.export")


def trim_vocabulary(encoder: TextEncoder, texts: Sequence[str], margin: int) -> TextEncoder:
    """Return a copy of `encoder` with the pieces of `texts` and `margin` frequent ones.

    An encoder without a WordPiece vocabulary is returned unchanged, with a warning.
    """
    backend = encoder.tokenizer.backend_tokenizer
    description = json.loads(backend.to_str())
    kind = description["model"]["type"]
    if kind != "WordPiece":
        _log.warning("the vocabulary stays whole: only WordPiece can be trimmed, not %s", kind)
        return encoder
    used = {token for ids in encoder.tokenize(texts).ids for token in ids}
    kept = _kept(description, used, margin)
    trimmed = copy.deepcopy(encoder)
    embeddings = cast(nn.Module, trimmed.model.embeddings)
    old = cast(nn.Embedding, embeddings.word_embeddings)
    new = nn.Embedding(len(kept), old.embedding_dim)
    with torch.no_grad():
        new.weight.copy_(old.weight[kept])
    embeddings.word_embeddings = new.to(old.weight.device)
    trimmed.model.config.vocab_size = len(kept)
    trimmed.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(_renumbered(description, kept))),
        **encoder.tokenizer.special_tokens_map,
    )
    trimmed.model.config.pad_token_id = trimmed.padding
    _log.info("vocabulary: %d of %d pieces kept", len(kept), old.num_embeddings)
    return trimmed


def _kept(description: dict[str, Any], used: set[int], margin: int) -> list[int]:
    """Return the ids that are kept, ascending."""
    special = {entry["id"] for entry in description["added_tokens"]}
    prefix = description["model"]["continuing_subword_prefix"]
    single, longer = set(), []
    for piece, token in sorted(description["model"]["vocab"].items(), key=lambda entry: entry[1]):
        if len(piece.removeprefix(prefix)) == 1:
            single.add(token)
        elif token not in special and not piece.startswith("["):
            longer.append(token)
    return sorted(special | used | single | set(longer[:margin]))


def _renumbered(description: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """Return a tokenizer's description with the tokens `kept`, numbered anew in their order."""
    renumbered = copy.deepcopy(description)
    new_ids = {old: new for new, old in enumerate(kept)}
    vocabulary = description["model"]["vocab"]
    renumbered["model"]["vocab"] = {
        piece: new_ids[token] for piece, token in vocabulary.items() if token in new_ids
    }
    for entry in renumbered["added_tokens"]:
        entry["id"] = new_ids[entry["id"]]
    # the template that puts [CLS] and [SEP] around a text refers to them by id
    for entry in (renumbered["post_processor"] or {}).get("special_tokens", {}).values():
        entry["ids"] = [new_ids[token] for token in entry["ids"]]
    return renumbered
