"""Paraphrases of texts by a text-to-text model from a local folder.

It stands apart from `models.data.augmentation`, whose other ways need neither torch nor
transformers.
"""

from collections.abc import Sequence
from typing import Any

from models.errors import InputError


def paraphrases(texts: Sequence[str], copies: int, seed: int, folder: str) -> list[list[str]]:
    """Return `copies` paraphrases of all texts [copies][n], sampled by the model in `folder`.

    Raises InputError without a folder, and where there is no such model in it.
    """
    # imported here: pipelines of all kinds load with it, and few trainings paraphrase
    from transformers import pipeline, set_seed

    if not folder:
        raise InputError("setting `paraphrase_model`: `paraphrase` needs a model's folder")
    set_seed(seed)
    try:
        write = pipeline("text2text-generation", model=folder)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"setting `paraphrase_model`: {folder!r} can't be loaded: {reason}"
        ) from error
    written: Any = write(
        list(texts), do_sample=True, num_return_sequences=copies, max_new_tokens=96
    )
    return [[of_one[copy]["generated_text"] for of_one in written] for copy in range(copies)]
