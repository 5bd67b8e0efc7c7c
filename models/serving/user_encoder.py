"""Inference without torch: texts, items and users become factors with ONNX Runtime and numpy.

- A text is encoded alone, without padding: dynamic int8 picks its scales from the whole batch, so
  that a vector would otherwise depend on its neighbours (microsoft/onnxruntime#10111). Threads
  encode different texts at once, which serves small models better than sharing one text.
- An item that the version knows has factors of its own; any other has those that its text (item
  tower) and its attributes (a factor for each column) add up to.
- A user's factors are the user tower of the profile, the weighted history and the time since the
  last interaction; score = user factors . item factors.

Trade-off: encoding texts one by one leaves a GPU mostly idle and makes every night reproducible.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from scipy import sparse
from tokenizers import Tokenizer

from models.data.arrays import Factors, Rows
from models.data.attributes import AttributeColumns
from models.data.interactions import SECONDS_IN_A_DAY, Catalogue, History
from models.data.matrices import pad_histories
from models.errors import InputError
from models.serving.bundle import (
    ATTRIBUTE_FACTORS,
    ATTRIBUTES,
    ENCODER,
    HISTORY_FACTORS,
    ITEM_FACTORS,
    ITEM_TOWER,
    TOKENIZER,
    USER_TOWER,
    Bundle,
    open_bundle,
)

NIGHT_ITEM_FACTORS = "item_factors.npy"
NIGHT_HISTORY_FACTORS = "history_factors.npy"
NIGHT_TITLES = "titles.json"
USERS_AT_ONCE = 64
NO_HISTORY = History(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
ITEMS_AT_ONCE = 4096
_NOBODY = -1
# days without an interaction after which their number no longer moves a score (2 ** -14 is left)
SETTLED_DAYS = 7.0


def session(model: Path | bytes, threads: int, device: str = "cpu") -> ort.InferenceSession:
    """Open an ONNX file, or a model's bytes, on `device` ("cpu" or "cuda") with `threads` threads.

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
    source = str(model) if isinstance(model, Path) else model
    opened = ort.InferenceSession(source, options, providers=providers)
    if device == "cuda" and "CUDAExecutionProvider" not in opened.get_providers():
        raise InputError("setting `device`: cuda was asked for, but ONNX Runtime can't use it here")
    return opened


class TextVectors:
    """Encodes texts one at a time with the version's own tokenizer, `threads` of them at once."""

    def __init__(self, bundle: Bundle, threads: int, device: str = "cpu") -> None:
        self._session = session(bundle.path(ENCODER), 1, device)
        self._threads = threads
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(str(bundle.path(TOKENIZER)))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(bundle.manifest["max_tokens"]))
        self.width = int(bundle.manifest["text_dim"])

    def encode(self, texts: Sequence[str]) -> Factors:
        """Return the vectors [n, w] of `texts`, each of unit length and independent of the rest."""
        distinct = {text: position for position, text in enumerate(dict.fromkeys(texts))}
        vectors = np.zeros((len(distinct), self.width), dtype=np.float32)

        def fill(text: str) -> None:
            vectors[distinct[text]] = self._one(text)

        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(fill, distinct):
                pass
        return vectors[[distinct[text] for text in texts]]

    def _one(self, text: str) -> NDArray[np.float32]:
        ids = np.asarray([self._tokenizer.encode(text).ids], dtype=np.int64)
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        found = self._session.run(None, {k: v for k, v in feed.items() if k in self._inputs})[0]
        vector = np.asarray(found[0], dtype=np.float32)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def attribute_columns(bundle: Bundle, catalogue: Catalogue) -> sparse.csr_array:
    """Return the catalogue's attributes in the columns [n, c] of the version's training."""
    content = json.loads(bundle.path(ATTRIBUTES).read_text("utf-8"))
    return AttributeColumns.from_json(content).encode(catalogue.attributes)


def item_factors(
    bundle: Bundle, catalogue: Catalogue, vectors: Factors, threads: int
) -> tuple[Factors, Factors]:
    """Return ranking [n, d] and history factors [n, h]; `vectors` [n, w] are of the texts.

    An item's are the same bits whatever other items there are.
    """
    own_ranking, own_history = bundle.array(ITEM_FACTORS), bundle.array(HISTORY_FACTORS)
    columns = attribute_columns(bundle, catalogue).astype(np.float32)
    sums = columns @ bundle.array(ATTRIBUTE_FACTORS)
    size = own_ranking.shape[1]
    tower = session(bundle.path(ITEM_TOWER), threads)
    parts = []
    for start in range(0, len(vectors), ITEMS_AT_ONCE):
        block = slice(start, start + ITEMS_AT_ONCE)
        # always as many rows: a product's last bits depend on their number
        missing = ((0, ITEMS_AT_ONCE - len(vectors[block])), (0, 0))
        feed = {
            "text_vectors": np.pad(vectors[block], missing),
            "ranking_sum": np.pad(sums[block, :size], missing),
            "history_sum": np.pad(sums[block, size:], missing),
        }
        parts.append([found[: len(vectors[block])] for found in tower.run(None, feed)])
    ranking, history = (np.concatenate(column) for column in zip(*parts, strict=True))
    rows = {item: row for row, item in enumerate(bundle.item_ids)}
    own = np.array([rows.get(item, -1) for item in catalogue.item_ids], dtype=np.int64)
    ranking[own >= 0] = own_ranking[own[own >= 0]]
    history[own >= 0] = own_history[own[own >= 0]]
    return ranking, history


class HistoryEncoder:
    """The user tower over fixed history factors [n, d]."""

    def __init__(self, bundle: Bundle, history_factors: Factors, threads: int) -> None:
        self._session = session(bundle.path(USER_TOWER), threads)
        self._length = int(bundle.manifest["history_length"])
        self._threshold = bundle.positive_threshold
        self._padding = len(history_factors)
        zero = np.zeros((1, history_factors.shape[1]), dtype=np.float32)
        self._factors = np.concatenate([history_factors, zero])

    def encode(
        self, histories: Sequence[History], profiles: Factors, clock: float | None
    ) -> Factors:
        """Return user factors [u, d] from histories and profile vectors [u, w].

        A user's are the same bits whoever else is asked about.

        `clock` is the time of asking in seconds, None for right after each user's newest.
        """
        parts = []
        for start in range(0, len(histories), USERS_AT_ONCE):
            some = list(histories[start : start + USERS_AT_ONCE])
            # always as many rows: a product's last bits depend on their number
            missing = USERS_AT_ONCE - len(some)
            full = some + [NO_HISTORY] * missing
            items, ages = pad_histories(full, self._threshold, self._length, self._padding)
            feed = {
                "profiles": np.pad(profiles[start : start + len(some)], ((0, missing), (0, 0))),
                "history_factors": self._factors,
                "items": items,
                "ages": ages,
                "idle_days": np.array([idle_days(h, clock) for h in full], dtype=np.float32),
            }
            parts.append(self._session.run(None, feed)[0][: len(some)])
        return np.concatenate(parts)


def idle_days(history: History, clock: float | None) -> float:
    """Return the days between a history's newest interaction and `clock`, SETTLED_DAYS at most.

    0 without a clock; SETTLED_DAYS without a history.
    """
    if clock is None:
        return 0.0
    if len(history.time) == 0:
        return SETTLED_DAYS
    return min(max(0.0, (clock - float(history.time[-1])) / SECONDS_IN_A_DAY), SETTLED_DAYS)


def build_night(
    bundle: Bundle, catalogue: Catalogue, vectors: Factors, folder: Path, threads: int
) -> None:
    """Write what the workers of one night map into memory: factors of the items, their titles.

    `vectors` [n, w] are those of the items' texts.
    """
    ranking, history = item_factors(bundle, catalogue, vectors, threads)
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
        self,
        bundle_folder: Path,
        night_folder: Path,
        clock: float,
        threads: int,
        device: str = "cpu",
    ) -> None:
        self._clock = clock
        bundle = open_bundle(bundle_folder)
        self._texts = TextVectors(bundle, threads, device)
        self._history_factors: Factors = np.load(
            night_folder / NIGHT_HISTORY_FACTORS, mmap_mode="r", allow_pickle=False
        )
        self._item_factors: Factors = np.load(
            night_folder / NIGHT_ITEM_FACTORS, mmap_mode="r", allow_pickle=False
        )
        self._histories = HistoryEncoder(bundle, self._history_factors, threads)
        self._threshold = bundle.positive_threshold
        self._titles: list[str] = json.loads((night_folder / NIGHT_TITLES).read_text("utf-8"))

    def encode(self, histories: list[History], profiles: list[str]) -> Factors:
        """Return user factors [u, d]."""
        return self._histories.encode(histories, self._texts.encode(profiles), self._clock)

    def reasons(self, histories: list[History], item_rows: Rows) -> tuple[Rows, list[str]]:
        """Say for each recommended item [u, k] which liked item speaks for it most.

        Returns places [u, k] in a list of words, and the words: `like "TITLE"`, or `profile`
        where the user has liked nothing yet.
        """
        speakers = np.full(item_rows.shape, _NOBODY, dtype=np.int64)
        for user, history in enumerate(histories):
            liked = history.liked(self._threshold)
            if len(liked):
                speakers[user] = self._speaker(liked, item_rows[user])
        found, places = np.unique(speakers, return_inverse=True)
        words = [
            "profile" if row == _NOBODY else f'like "{self._titles[row]}"' for row in found.tolist()
        ]
        return places.reshape(item_rows.shape), words

    def _speaker(self, liked: Rows, rows: Rows) -> Rows:
        size = self._history_factors.shape[1]
        affinity = self._item_factors[rows, :size] @ self._history_factors[liked].T
        return np.asarray(liked[affinity.argmax(axis=1)], dtype=np.int64)
