"""Texts varied: so that few teach more, and to see how a model bears what people type.

- Each way is a function of a text and a random generator, and gives a text that means the same.
- `paraphrase` asks a text-to-text model of the user's own, from a local folder.

Trade-off: variants are made once before the training, so that the frozen layers read them once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.errors import InputError

SHARE = 0.1
Random = np.random.Generator


def word_dropout(text: str, random: Random) -> str:
    """Leave out a tenth of the words, never all."""
    words = text.split()
    kept = [word for word in words if random.random() >= SHARE]
    return " ".join(kept or words)


def attribute_shuffle(text: str, random: Random) -> str:
    """Put the sentences after the first, which are attributes, into another order."""
    first, *others = text.split(". ")
    closed = text.endswith(".")
    sentences = [sentence.removesuffix(".") for sentence in others]
    shuffled = [sentences[place] for place in random.permutation(len(sentences))]
    return ". ".join([first, *shuffled]) + ("." if closed and others else "")


def typos(text: str, random: Random) -> str:
    """Misspell a tenth of the words: two neighbouring letters change places."""
    return " ".join(
        _misspelt(word, random) if len(word) > 3 and random.random() < SHARE else word
        for word in text.split(" ")
    )


def _misspelt(word: str, random: Random) -> str:
    place = int(random.integers(1, len(word) - 1))
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def truncation(text: str, random: Random) -> str:
    """Keep the first half to all of the words, at least one."""
    words = text.split()
    kept = max(1, int(len(words) * random.uniform(0.5, 1.0)))
    return " ".join(words[:kept])


def word_shuffle(text: str, random: Random) -> str:
    """Put the words into another order."""
    words = text.split()
    return " ".join(words[place] for place in random.permutation(len(words)))


WAYS: dict[str, Callable[[str, Random], str]] = {
    "word_dropout": word_dropout,
    "attribute_shuffle": attribute_shuffle,
    "typos": typos,
    "truncation": truncation,
    "word_shuffle": word_shuffle,
}
PARAPHRASE = "paraphrase"


def chosen_ways(names: str) -> list[str]:
    """Return the ways in a comma-separated list; InputError for one that isn't known."""
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in WAYS and name != PARAPHRASE:
            known = ", ".join([*WAYS, PARAPHRASE])
            raise InputError(f"setting `augmentations`: {name!r} is none of {known}")
    return chosen


def variants(
    texts: Sequence[str], ways: Sequence[str], copies: int, seed: int, paraphraser: str
) -> list[list[str]]:
    """Return `copies` varied copies of each text; each copy is varied in all `ways`.

    `paraphraser` is the folder of a text-to-text model, which the way `paraphrase` needs.
    """
    random = np.random.default_rng(seed)
    copied = [list(texts) for _ in range(copies)]
    if PARAPHRASE in ways:
        copied = _paraphrased(texts, copies, seed, paraphraser)
    for name in ways:
        if name in WAYS:
            copied = [[WAYS[name](text, random) for text in copy] for copy in copied]
    return [list(of_one) for of_one in zip(*copied, strict=True)]


def _paraphrased(texts: Sequence[str], copies: int, seed: int, folder: str) -> list[list[str]]:
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
