"""One version in three states, as functions that score users against a catalogue.

- `pretrained`: cosine of the untouched language model's item vectors with the mean of those of the
  user's liked items.
- `fine_tuned`: the fine-tuned PyTorch encoder's vectors under the two towers.
- `shipped`: the compressed encoder under the two towers, as a night computes it.

Trade-off: the first two are stored vectors and know only the texts of training.
"""

import json
from collections.abc import Callable, Sequence

import numpy as np

from models.bundle import FINE_TUNED_VECTORS, PRETRAINED_VECTORS, TEXTS, Bundle
from models.dataset import Catalogue, Factors, History
from models.errors import InputError
from models.serving import HistoryEncoder, TextVectors, item_factors
from models.texts import item_texts

ScoreFunction = Callable[[list[History], list[str]], Factors]


def score_function(
    bundle: Bundle,
    variant: str,
    catalogue: Catalogue,
    threads: int = 1,
    clock: float | None = None,
) -> ScoreFunction:
    """Return the function that scores users against the catalogue, [u, n], for one variant.

    `clock` is the time of asking in seconds, None for right after each user's newest interaction.
    """
    if variant == "pretrained":
        return _pretrained(bundle, catalogue)
    if variant == "fine_tuned":
        encode = _stored_vectors(bundle, FINE_TUNED_VECTORS)
    elif variant == "shipped":
        encode = TextVectors(bundle, threads).encode
    else:
        raise ValueError(f"variant {variant!r}: expected pretrained, fine_tuned or shipped")
    vectors = encode(item_texts(catalogue))
    ranking, history = item_factors(bundle, catalogue, vectors, threads)
    users = HistoryEncoder(bundle, history, threads)

    def score(histories: list[History], profiles: list[str]) -> Factors:
        return users.encode(histories, encode(profiles), clock) @ ranking.T

    return score


def _pretrained(bundle: Bundle, catalogue: Catalogue) -> ScoreFunction:
    vectors = _stored_vectors(bundle, PRETRAINED_VECTORS)(item_texts(catalogue))
    threshold = bundle.positive_threshold

    def score(histories: list[History], profiles: list[str]) -> Factors:  # noqa: ARG001
        means = np.zeros((len(histories), vectors.shape[1]), dtype=np.float32)
        for row, history in enumerate(histories):
            liked = history.liked(threshold)
            if len(liked):
                means[row] = vectors[liked].mean(axis=0)
        return means @ vectors.T

    return score


def _stored_vectors(bundle: Bundle, name: str) -> Callable[[Sequence[str]], Factors]:
    texts: list[str] = json.loads(bundle.path(TEXTS).read_text("utf-8"))
    rows = {text: row for row, text in enumerate(texts)}
    vectors = bundle.array(name)

    def encode(wanted: Sequence[str]) -> Factors:
        missing = next((text for text in wanted if text not in rows), None)
        if missing is not None:
            raise InputError(
                f"model version {bundle.version} was not trained with the text {missing[:60]!r}: "
                "train again, or evaluate the shipped model alone"
            )
        return np.asarray(vectors[[rows[text] for text in wanted]], dtype=np.float32)

    return encode
