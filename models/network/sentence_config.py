"""What an encoder's folder says about its vectors, in the files of sentence-transformers.

- `modules.json` and the pooling's own `config.json`: how tokens become a vector, and whether that
  gets unit length. A folder without them gets the mean of the tokens, at unit length.
- `config_sentence_transformers.json`: prompts that were put before texts in the encoder's training.
  Items and profiles get the same one, that of documents ("document", "passage" or "corpus", the
  first that isn't empty), else the default one; both describe something, and neither is a query.
- `sentence_bert_config.json`: the most tokens that the encoder was trained for, and lower case.

Trade-off: one prompt for all texts. Vectors of items and of profiles are features of two linear
maps and never compared, so a second prompt would buy nothing, and a text has one vector.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import InputError

POOLINGS = ("mean", "cls", "max")
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True)
class SentenceConfig:
    """How texts become vectors; the defaults are those of a folder that says nothing."""

    pooling: str = "mean"
    """"mean" of the tokens, "cls" for the first one, "max" of each dimension."""
    normalised: bool = True
    """Whether vectors have unit length."""
    prompt: str = ""
    """What is put before every text."""
    max_tokens: int | None = None
    """The most tokens of a text that the encoder was trained for; None where nothing is said."""
    lower_case: bool = False
    """Whether texts are put in lower case, whatever the tokenizer does."""

    def pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return vectors [b, w] from the states [b, l, w] of tokens, those in `mask` [b, l]."""
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        if self.pooling == "cls":
            vectors = hidden[:, 0]
        elif self.pooling == "max":
            vectors = hidden.masked_fill(weights == 0, -torch.inf).max(dim=1).values
        else:
            vectors = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return nn.functional.normalize(vectors, dim=-1) if self.normalised else vectors


def read_sentence_config(source: str, name: str, setting: str = "encoder") -> SentenceConfig:
    """Return what the folder or hub name `source` says.

    Raises InputError with `setting` and `name` where it asks for what can't be exported.
    """
    try:
        return _read(source)
    except ValueError as error:
        raise InputError(f"setting `{setting}`: {name!r}: {error}") from error


def _read(source: str) -> SentenceConfig:
    # here: it takes as long as torch and transformers together, and an export reads no folder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.base.modules.module import Module

    modules: Any = Module.load_config(source, config_filename="modules.json") or []
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if modules and kinds not in (
        ["Transformer", "Pooling"],
        ["Transformer", "Pooling", "Normalize"],
    ):
        raise ValueError(
            f"modules.json lists {', '.join(kinds)}, and only Transformer, Pooling and Normalize, "
            "in this order, can be exported"
        )
    prompts = Module.load_config(source, config_filename="config_sentence_transformers.json")
    prompt = _prompt(prompts)
    pooling = _pooling(source, modules[1]["path"], prompt) if modules else "mean"
    transformer = Transformer.load_config(source)
    return SentenceConfig(
        pooling=pooling,
        normalised=not modules or "Normalize" in kinds,
        prompt=prompt,
        max_tokens=transformer.get("max_seq_length"),
        lower_case=bool(transformer.get("do_lower_case", False)),
    )


def _pooling(source: str, folder: str, prompt: str) -> str:
    from sentence_transformers.sentence_transformer.modules import Pooling

    config = Pooling.load_config(source, subfolder=folder)
    mode = config.get("pooling_mode", "mean")
    wanted = mode if isinstance(mode, str) else " and ".join(mode)
    if wanted not in POOLINGS:
        raise ValueError(
            f"its pooling is {wanted}, and only one of {', '.join(POOLINGS)} can be exported"
        )
    if prompt and not config.get("include_prompt", True):
        raise ValueError(
            "its pooling leaves the prompt's tokens out (`include_prompt`: false), which can't be "
            "exported"
        )
    return wanted


def _prompt(config: dict[str, Any]) -> str:
    prompts = config.get("prompts") or {}
    default = config.get("default_prompt_name")
    found = [prompts.get(name) for name in (*_DOCUMENT_PROMPTS, default)]
    return str(next((prompt for prompt in found if prompt), ""))
