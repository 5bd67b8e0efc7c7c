"""Texts to vectors by the version's own encoder and tokenizer, without torch.

- A text is encoded alone, without padding: dynamic int8 takes its scales from the whole batch, so
  a vector would otherwise depend on its neighbours (microsoft/onnxruntime#10111).
- Threads encode different texts at once, which suits small models better than sharing one text.
- `KeptVectors` remembers what it encoded; `TextEncoders` does so for several versions, of which
  those with the same encoder (a version and its refit) share their vectors.

Trade-off: encoding texts one by one leaves a GPU mostly idle and makes every night reproducible.
"""

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from models.data.arrays import Factors
from models.serving.bundle import ENCODER, TOKENIZER, Bundle, ExportedEncoder
from models.serving.runtime import open_session

Encode = Callable[[Sequence[str]], Factors]

KEPT_TEXTS = 20_000


class TextVectors:
    """Encodes texts one at a time with the encoder's own tokenizer, `threads` of them at once."""

    def __init__(self, encoder: ExportedEncoder, threads: int, device: str = "cpu") -> None:
        self._session = open_session(encoder.graph, 1, device)
        self._threads = threads
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._tokenizer = Tokenizer.from_file(str(encoder.tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(encoder.facts.max_tokens)
        self._prompt, self._normalised = encoder.facts.prompt, encoder.facts.normalised
        self.width = encoder.facts.text_dim

    def encode(self, texts: Sequence[str]) -> Factors:
        """Return the vectors [n, w] of `texts`, each independent of the rest."""
        distinct = {text: position for position, text in enumerate(dict.fromkeys(texts))}
        vectors = np.zeros((len(distinct), self.width), dtype=np.float32)

        def fill(text: str) -> None:
            vectors[distinct[text]] = self._one(text)

        with ThreadPoolExecutor(self._threads) as pool:
            for _ in pool.map(fill, distinct):
                pass
        return vectors[[distinct[text] for text in texts]]

    def _one(self, text: str) -> NDArray[np.float32]:
        ids = np.asarray([self._tokenizer.encode(self._prompt + text).ids], dtype=np.int64)
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        found = self._session.run(None, {k: v for k, v in feed.items() if k in self._inputs})[0]
        vector = np.asarray(found[0], dtype=np.float32)
        if not self._normalised:
            return vector
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


class KeptVectors:
    """Encodes texts, and keeps the vectors of those that it met last, `most` of them; None: of all.

    A vector has the same bits whether it was kept or not.
    """

    def __init__(self, texts: TextVectors, most: int | None = KEPT_TEXTS) -> None:
        self._texts, self._most = texts, most
        self._kept: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> Factors:
        """Return the vectors [n, w] of `texts`."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if self._most is not None and len(self._kept) + len(fresh) > self._most:
            self._kept, fresh = {}, list(dict.fromkeys(texts))
        if fresh:
            self._kept |= dict(zip(fresh, self._texts.encode(fresh), strict=True))
        rows = [self._kept[text] for text in texts]
        return np.array(rows, dtype=np.float32).reshape(-1, self._texts.width)


class TextEncoders:
    """The shipped text encoders of versions: each text is encoded once by each different encoder.

    Trade-off: the vectors of all texts stay in memory, 1.5 kB each, as long as this object.
    """

    def __init__(self) -> None:
        self._by_files: dict[Hashable, KeptVectors] = {}

    def of(self, bundle: Bundle) -> Encode:
        """Return what encodes texts as the version does; InputError where it isn't exported."""
        from models.processors import usable_cores  # needs joblib, which executors go without

        encoder, files = bundle.encoder, bundle.manifest.files
        key = files[ENCODER].sha256, files[TOKENIZER].sha256, encoder.facts
        if key not in self._by_files:
            self._by_files[key] = KeptVectors(TextVectors(encoder, usable_cores()), most=None)
        return self._by_files[key].encode
