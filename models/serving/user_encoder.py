"""Users to factors and to the reasons of their recommendations, without torch.

- A user's factors are what the user tower computes from the profile's text, the weighted history
  and the time since the last interaction; a pair's score is the dot product of user and item
  factors.
- The reason for a recommended item is the liked item whose history factors agree with it most.

Trade-off: a worker keeps the vectors of the last profile texts that it met, and another worker
encodes them again; few users have a text of their own where profiles are made of attributes.
"""

import json
from pathlib import Path

import numpy as np

from models.data.arrays import Factors, Rows
from models.data.interactions import Catalogue, History
from models.serving.bundle import Bundle, open_bundle
from models.serving.history_encoder import HistoryEncoder, blocks_in, by_block
from models.serving.item_factors import item_factors
from models.serving.text_vectors import KeptVectors, TextVectors

NIGHT_ITEM_FACTORS = "item_factors.npy"
NIGHT_HISTORY_FACTORS = "history_factors.npy"
NIGHT_TITLES = "titles.json"
_NOBODY = -1


def build_night(
    bundle: Bundle, catalogue: Catalogue, vectors: Factors, folder: Path, threads: int
) -> None:
    """Write what the workers of one night map into memory: factors of the items, their titles.

    `vectors` [n, w] are those of the items' texts.
    """
    ranking, history = item_factors(bundle, catalogue, vectors, threads)
    flat = [part.ravel() for part in by_block(history, bundle.manifest.blocks)]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / NIGHT_ITEM_FACTORS, ranking, allow_pickle=False)
    np.save(folder / NIGHT_HISTORY_FACTORS, np.concatenate(flat), allow_pickle=False)
    titles = [
        title or item for title, item in zip(catalogue.titles, catalogue.item_ids, strict=True)
    ]
    (folder / NIGHT_TITLES).write_text(json.dumps(titles, ensure_ascii=False), "utf-8")


class UserEncoder:
    """Users to factors and reasons, over the arrays of one night; one for each worker."""

    def __init__(
        self,
        bundle_folder: Path,
        night_folder: Path,
        clock: float | None,
        threads: int,
        device: str = "cpu",
    ) -> None:
        self._clock = clock
        bundle = open_bundle(bundle_folder)
        self._texts = KeptVectors(TextVectors(bundle.encoder, threads, device))
        flat = np.load(night_folder / NIGHT_HISTORY_FACTORS, mmap_mode="r", allow_pickle=False)
        self._history = blocks_in(flat, bundle.manifest.blocks)
        self._item_factors: Factors = np.load(
            night_folder / NIGHT_ITEM_FACTORS, mmap_mode="r", allow_pickle=False
        )
        self._histories = HistoryEncoder(bundle, self._history, threads)
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
        spoken = np.hstack([part[liked] for part in self._history])
        affinity = self._item_factors[rows, : spoken.shape[1]] @ spoken.T
        return np.asarray(liked[affinity.argmax(axis=1)], dtype=np.int64)
