"""Inference without torch: texts, items and users become factors with ONNX Runtime and numpy.

- A text is encoded alone, without padding: dynamic int8 picks its scales from the whole batch, so
  that a vector would otherwise depend on its neighbours (microsoft/onnxruntime#10111).
- An item's factor is the item tower of its text plus its collaborative part, which is zero for an
  item that the version has never seen; the last of its dimensions is the item's bias.
- A user's factor is the user tower of the profile and the weighted history; its last dimension is
  one, so that score = user factor . item factor.

Trade-off: encoding texts one by one leaves some throughput on the table and makes every night
reproducible.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.bundle import (
    ENCODER,
    FINE_TUNED_VECTORS,
    HISTORY_FACTORS,
    ITEM_FACTORS,
    ITEM_TOWER,
    PRETRAINED_VECTORS,
    TEXTS,
    TOKENIZER,
    USER_TOWER,
    Bundle,
    open_bundle,
)
from models.dataset import Catalogue, Factors, History, Rows
from models.errors import InputError
from models.texts import item_texts

NIGHT_ITEM_FACTORS = "item_factors.npy"
NIGHT_HISTORY_FACTORS = "history_factors.npy"
NIGHT_TITLES = "titles.json"
USERS_AT_ONCE = 64
ITEMS_AT_ONCE = 4096

ScoreFunction = Callable[[list[History], list[str]], Factors]


def session(path: Path, threads: int, device: str = "cpu") -> ort.InferenceSession:
    """Open an ONNX file on `device` ("cpu" or "cuda") with `threads` CPU threads.

    Raises InputError where CUDA was asked for and ONNX Runtime fell back to the CPU, which it
    does without a word (microsoft/onnxruntime#23372).
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        providers.insert(0, "CUDAExecutionProvider")
    opened = ort.InferenceSession(str(path), options, providers=providers)
    if device == "cuda" and "CUDAExecutionProvider" not in opened.get_providers():
        raise InputError("setting `device`: cuda was asked for, but ONNX Runtime can't use it here")
    return opened


class TextVectors:
    """Encodes texts one at a time with the version's own tokenizer."""

    def __init__(self, bundle: Bundle, threads: int, device: str = "cpu") -> None:
        self._session = session(bundle.path(ENCODER), threads, device)
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(str(bundle.path(TOKENIZER)))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(bundle.manifest["max_tokens"]))
        self.width = int(bundle.manifest["text_dim"])

    def encode(self, texts: Sequence[str]) -> Factors:
        """Return the vectors [n, w] of `texts`, each of unit length and independent of the rest."""
        distinct = {text: position for position, text in enumerate(dict.fromkeys(texts))}
        vectors = np.zeros((len(distinct), self.width), dtype=np.float32)
        for text, position in distinct.items():
            vectors[position] = self._one(text)
        return vectors[[distinct[text] for text in texts]]

    def _one(self, text: str) -> NDArray[np.float32]:
        ids = np.asarray([self._tokenizer.encode(text).ids], dtype=np.int64)
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        hidden = self._session.run(None, {k: v for k, v in feed.items() if k in self._inputs})[0]
        mean = np.asarray(hidden[0], dtype=np.float32).mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-12)


def item_factors(
    bundle: Bundle, item_ids: Sequence[str], vectors: Factors, threads: int
) -> tuple[Factors, Factors, Factors]:
    """Return ranking factors [n, d + 1], history factors [n, d] and interest biases [n].

    `vectors` [n, w] are the text vectors of the items. An item that the version does not know gets
    its factors from its text alone.
    """
    rows = {item: row for row, item in enumerate(bundle.item_ids)}
    known = np.array([rows.get(item, -1) for item in item_ids], dtype=np.int64)
    ranking = _aligned(bundle.array(ITEM_FACTORS), known)
    history = _aligned(bundle.array(HISTORY_FACTORS), known)
    tower = session(bundle.path(ITEM_TOWER), threads)
    parts = [
        tower.run(
            None,
            {
                "text_vectors": vectors[start : start + ITEMS_AT_ONCE],
                "ranking_part": ranking[start : start + ITEMS_AT_ONCE],
                "history_part": history[start : start + ITEMS_AT_ONCE],
            },
        )
        for start in range(0, len(item_ids), ITEMS_AT_ONCE)
    ]
    first, second, third = (np.concatenate(column) for column in zip(*parts, strict=True))
    return first, second, third


def _aligned(part: NDArray[Any], rows: Rows) -> Factors:
    aligned = np.zeros((len(rows), part.shape[1]), dtype=np.float32)
    aligned[rows >= 0] = part[rows[rows >= 0]]
    return aligned


class HistoryEncoder:
    """The user tower over fixed history factors [n, d]."""

    def __init__(self, bundle: Bundle, history_factors: Factors, threads: int) -> None:
        self._session = session(bundle.path(USER_TOWER), threads)
        self._length = int(bundle.manifest["history_length"])
        self._threshold = float(bundle.manifest["settings"]["positive_threshold"])
        self._padding = len(history_factors)
        zero = np.zeros((1, history_factors.shape[1]), dtype=np.float32)
        self._factors = np.concatenate([history_factors, zero])

    def encode(self, histories: Sequence[History], profiles: Factors) -> Factors:
        """Return user factors [u, d + 1] from histories and profile vectors [u, w]."""
        parts = []
        for start in range(0, len(histories), USERS_AT_ONCE):
            some = histories[start : start + USERS_AT_ONCE]
            items, ages = pad_histories(some, self._threshold, self._length, self._padding)
            feed = {
                "profiles": profiles[start : start + USERS_AT_ONCE],
                "history_factors": self._factors,
                "items": items,
                "ages": ages,
            }
            parts.append(self._session.run(None, feed)[0])
        return np.concatenate(parts)


def pad_histories(
    histories: Sequence[History], threshold: float, length: int, padding: int
) -> tuple[Rows, Factors]:
    """Return the newest `length` positives of each history as items [u, l] and ages [u, l].

    The newest stands first and has age 0; ages count interactions. Short histories are filled
    with the item row `padding`.
    """
    items = np.full((len(histories), length), padding, dtype=np.int64)
    for row, history in enumerate(histories):
        positives = history.item[history.value >= threshold][::-1][:length]
        items[row, : len(positives)] = positives
    ages = np.broadcast_to(np.arange(length, dtype=np.float32), items.shape)
    return items, np.ascontiguousarray(ages)


def build_night(bundle: Bundle, catalogue: Catalogue, folder: Path, threads: int) -> None:
    """Write what the workers of one night map into memory: factors of the items, their titles."""
    vectors = TextVectors(bundle, threads).encode(item_texts(catalogue))
    ranking, history, _ = item_factors(bundle, catalogue.item_ids, vectors, threads)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / NIGHT_ITEM_FACTORS, ranking, allow_pickle=False)
    np.save(folder / NIGHT_HISTORY_FACTORS, history, allow_pickle=False)
    titles = [
        title or item for title, item in zip(catalogue.titles, catalogue.item_ids, strict=True)
    ]
    (folder / NIGHT_TITLES).write_text(json.dumps(titles, ensure_ascii=False), "utf-8")


class UserTower:
    """Users to factors and reasons, over the arrays of one night; one for each worker."""

    def __init__(
        self, bundle_folder: Path, night_folder: Path, threads: int, device: str = "cpu"
    ) -> None:
        bundle = open_bundle(bundle_folder)
        self._texts = TextVectors(bundle, threads, device)
        self._history_factors: Factors = np.load(
            night_folder / NIGHT_HISTORY_FACTORS, mmap_mode="r", allow_pickle=False
        )
        self._item_factors: Factors = np.load(
            night_folder / NIGHT_ITEM_FACTORS, mmap_mode="r", allow_pickle=False
        )
        self._histories = HistoryEncoder(bundle, self._history_factors, threads)
        self._threshold = float(bundle.manifest["settings"]["positive_threshold"])
        self._titles: list[str] = json.loads((night_folder / NIGHT_TITLES).read_text("utf-8"))

    def encode(self, histories: list[History], profiles: list[str]) -> Factors:
        """Return user factors [u, d + 1]; the last dimension is one and meets the item's bias."""
        return self._histories.encode(histories, self._texts.encode(profiles))

    def reasons(self, histories: list[History], item_rows: Rows) -> list[list[str]]:
        """Say for each recommended item [u, k] which liked item speaks for it most.

        The words are `like "TITLE"`, or `profile` where the user has liked nothing yet.
        """
        return [
            self._reasons_of(history, rows)
            for history, rows in zip(histories, item_rows, strict=True)
        ]

    def _reasons_of(self, history: History, rows: Rows) -> list[str]:
        liked = history.item[history.value >= self._threshold]
        if len(liked) == 0:
            return ["profile"] * len(rows)
        affinity = self._item_factors[rows, :-1] @ self._history_factors[liked].T
        return [f'like "{self._titles[liked[best]]}"' for best in affinity.argmax(axis=1)]


def score_function(
    bundle: Bundle, variant: str, catalogue: Catalogue, threads: int = 1
) -> ScoreFunction:
    """Return the function that scores users against the catalogue, [u, n], for one variant.

    - `pretrained`: cosine of the untouched language model's item vectors with the mean of those
      of the user's liked items.
    - `fine_tuned`: the fine-tuned PyTorch encoder's vectors under the two towers.
    - `shipped`: the compressed encoder under the two towers, as a night computes it.

    The first two are stored vectors and know only the texts of training.
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
    ranking, history, _ = item_factors(bundle, catalogue.item_ids, vectors, threads)
    users = HistoryEncoder(bundle, history, threads)

    def score(histories: list[History], profiles: list[str]) -> Factors:
        return users.encode(histories, encode(profiles)) @ ranking.T

    return score


def _pretrained(bundle: Bundle, catalogue: Catalogue) -> ScoreFunction:
    vectors = _stored_vectors(bundle, PRETRAINED_VECTORS)(item_texts(catalogue))
    threshold = float(bundle.manifest["settings"]["positive_threshold"])

    def score(histories: list[History], profiles: list[str]) -> Factors:
        means = np.zeros((len(histories), vectors.shape[1]), dtype=np.float32)
        for row, history in enumerate(histories):
            liked = history.item[history.value >= threshold]
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
