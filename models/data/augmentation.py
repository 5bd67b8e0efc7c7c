"""Varied copies of texts, for training on few texts and for testing a model on untidy input.

- Each way of `WAYS` is a function of a text and a random generator that returns a text with
  nearly the same meaning.
- A further way, `PARAPHRASE`, needs a text-to-text model: `models.network.paraphrasing`.

Trade-off: copies are made once before training, so that the encoder's frozen layers run once for
each, instead of anew in every pass.
"""

from collections.abc import Callable, Sequence

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


def variants(copied: Sequence[Sequence[str]], ways: Sequence[str], seed: int) -> list[list[str]]:
    """Return the varied copies of each text [n][c] from copies of all texts [c][n].

    Each copy is varied in all `ways`; copies that `models.network.paraphrasing` wrote count as
    varied in the way `paraphrase` already.
    """
    random = np.random.default_rng(seed)
    varied = [list(copy) for copy in copied]
    for name in ways:
        if name in WAYS:
            varied = [[WAYS[name](text, random) for text in copy] for copy in varied]
    return [list(of_one) for of_one in zip(*varied, strict=True)]
