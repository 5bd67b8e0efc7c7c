"""Three variants of one version, which score users against a catalogue at any time of asking.

- `pretrained`: the language model before fine-tuning. The score is the cosine between an item's
  vector and the mean vector of the items that the user liked.
- `fine_tuned`: the two towers on the fine-tuned PyTorch encoder's vectors.
- `shipped`: the two towers on the compressed encoder's vectors, as in a nightly run.

The catalogue is encoded when a variant is opened, and not again for another time of asking.

Trade-off: the vectors of the first two are stored, so they cover only the texts of training.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load_file

from models.data.arrays import Factors, Numbers
from models.data.interactions import Catalogue, History
from models.data.texts import item_texts
from models.errors import InputError
from models.evaluation.contender import Probability
from models.evaluation.interest import (
    calibrated,
    features,
    probabilities,
    text_levels,
    with_intercept,
)
from models.evaluation.question import Question, Scorer
from models.factors.text_map import TextMap
from models.processors import usable_cores
from models.serving.bundle import (
    FINE_TUNED_VECTORS,
    INTEREST,
    PRETRAINED_VECTORS,
    TEXTS,
    Bundle,
)
from models.serving.history_encoder import HistoryEncoder, by_block
from models.serving.item_factors import attribute_columns, item_factors
from models.serving.text_vectors import Encode, TextEncoders


@dataclass(frozen=True)
class Variant:
    """A variant that is ready to score: item vectors [n, w], and scorers of users [u, n].

    `asked_at` takes the time of asking in seconds, None for right after each user's newest
    interaction.
    """

    name: str
    bundle: Bundle
    catalogue: Catalogue
    vectors: Factors
    asked_at: Callable[[float | None], Scorer]

    def probability_after(self, tuning: Question) -> Probability:
        """Return the function from a question and scores [m] to probabilities of liking [m].

        The untouched language model predicts no interest: its cosine is calibrated on `tuning`.
        """
        if self.name == "pretrained":
            plain = calibrated(tuning, self.asked_at(None))
            return lambda _, scores: probabilities(plain, with_intercept(scores))
        levels, coefficients = self.interest()
        return lambda question, scores: probabilities(
            coefficients, features(question, scores, levels)
        )

    def interest(self) -> tuple[Factors, Numbers]:
        """Return the items' levels [n] and the coefficients [4] of interest prediction."""
        arrays = load_file(self.bundle.path(INTEREST))
        columns = attribute_columns(self.bundle, self.catalogue)
        text_map = TextMap(arrays["weights"], arrays["bias"], arrays["attributes"])
        levels = text_levels(text_map, self.vectors, columns)
        own = dict(zip(self.bundle.manifest.rated_item_ids, arrays["levels"], strict=True))
        for row, item in enumerate(self.catalogue.item_ids):
            levels[row] = own.get(item, levels[row])
        return levels, arrays["coefficients"]


def open_variant(
    bundle: Bundle, name: str, catalogue: Catalogue, encoders: TextEncoders
) -> Variant:
    """Return the variant `name` over the catalogue, whose texts `encoders` encode for "shipped"."""
    if name == "pretrained":
        vectors = stored_vectors(bundle, PRETRAINED_VECTORS)(item_texts(catalogue))
        by_likes = _mean_of_liked(vectors, bundle)
        return Variant(name, bundle, catalogue, vectors, lambda _: by_likes)
    if name == "fine_tuned":
        return towers_variant(name, bundle, catalogue, stored_vectors(bundle, FINE_TUNED_VECTORS))
    if name == "shipped":
        return towers_variant(name, bundle, catalogue, encoders.of(bundle))
    raise ValueError(f"variant {name!r}: expected pretrained, fine_tuned or shipped")


def towers_variant(name: str, bundle: Bundle, catalogue: Catalogue, encode: Encode) -> Variant:
    """Return a version's two towers over the catalogue, on the vectors that `encode` gives."""
    vectors = encode(item_texts(catalogue))
    items = item_factors(bundle, catalogue, vectors, usable_cores())
    history = by_block(items.history, bundle.manifest.blocks)
    users = HistoryEncoder(bundle, history, usable_cores())

    def asked_at(clock: float | None) -> Scorer:
        return lambda pasts, profiles: (
            users.encode(pasts, encode(profiles), clock) @ items.ranking.T
        )

    return Variant(name, bundle, catalogue, vectors, asked_at)


def _mean_of_liked(vectors: Factors, bundle: Bundle) -> Scorer:
    threshold = bundle.positive_threshold

    def score(histories: list[History], profiles: list[str]) -> Factors:  # noqa: ARG001
        means = np.zeros((len(histories), vectors.shape[1]), dtype=np.float32)
        for row, history in enumerate(histories):
            liked = history.liked(threshold)
            if len(liked):
                means[row] = vectors[liked].mean(axis=0)
        return means @ vectors.T

    return score


def stored_vectors(bundle: Bundle, name: str) -> Encode:
    """Return the function from texts of the version's training to their vectors in array `name`."""
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
