"""Users to factors and to the reasons of their recommendations, without torch.

- A user's factors are what the user tower computes from the profile's text, the weighted history
  and the time since the last interaction; a pair's score is the dot product of user and item
  factors.
- The reason for a recommended item is what adds most to its score (`reasons/contributions.py`), in
  words.

Trade-off: a worker keeps the vectors of the last profile texts that it met, and another worker
encodes them again; few users have a text of their own where profiles are made of attributes.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data.arrays import Factors, Rows
from models.data.interactions import Catalogue, History
from models.serving.bundle import Bundle, open_bundle
from models.serving.history_encoder import HistoryEncoder, blocks_in, by_block
from models.serving.item_factors import item_factors
from models.serving.reasons.contributions import PROFILE, Reasoner
from models.serving.text_vectors import KeptVectors, TextVectors

NIGHT_ITEM_FACTORS = "item_factors.npy"
NIGHT_HISTORY_FACTORS = "history_factors.npy"
NIGHT_OWN = "own.npy"
NIGHT_ATTRIBUTES = "attributes.npy"
NIGHT_TITLES = "titles.json"
# in the order of what adds to a score beside the history
_PROFILE, _NO_PROFILE = -1 - PROFILE, -6


def build_night(
    bundle: Bundle, catalogue: Catalogue, vectors: Factors, folder: Path, threads: int
) -> None:
    """Write what the workers of one night map into memory: factors of the items, their titles.

    `vectors` [n, w] are those of the items' texts.
    """
    items = item_factors(bundle, catalogue, vectors, threads)
    flat = [part.ravel() for part in by_block(items.history, bundle.manifest.blocks)]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / NIGHT_ITEM_FACTORS, items.ranking, allow_pickle=False)
    np.save(folder / NIGHT_OWN, items.own, allow_pickle=False)
    np.save(folder / NIGHT_ATTRIBUTES, items.attributes, allow_pickle=False)
    np.save(folder / NIGHT_HISTORY_FACTORS, np.concatenate(flat), allow_pickle=False)
    titles = [
        title or item for title, item in zip(catalogue.titles, catalogue.item_ids, strict=True)
    ]
    (folder / NIGHT_TITLES).write_text(json.dumps(titles, ensure_ascii=False), "utf-8")


@dataclass(frozen=True)
class SaidReasons:
    """The reasons of recommended items [u, k]: their `places` in a list of `words`.

    The words are `like "TITLE"`, naming an item of the history, `profile` or `no profile`,
    `popular` (of all time), `popular` with the days of late, or, of an item without factors of its
    own, `text` or `attributes`. `items` [u, k, 3] are the rows of the history's items that add
    most to the score, -1 where there are fewer.
    """

    places: Rows
    words: list[str]
    items: Rows


class UserEncoder:
    """Users to factors and reasons, over the arrays of one night; one for each worker."""

    def __init__(
        self,
        bundle_folder: Path,
        night_folder: Path,
        clock: float | None,
        threads: int,
        device: str = "cpu",
        lately: str = "lately",
    ) -> None:
        """Take the folders of a version and of a night's arrays.

        `clock` is the time of asking in seconds, None for right after each user's last visit;
        `lately` says of when the version's popularity of late is.
        """
        self._clock = clock
        # in the order of what adds to a score beside the history
        self._words = [
            "profile", "popular", f"popular {lately}", "text", "attributes", "no profile"
        ]  # fmt: skip
        bundle = open_bundle(bundle_folder)
        self._texts = KeptVectors(TextVectors(bundle.encoder, threads, device))
        ranking, flat, own, attributes = (
            np.load(night_folder / name, mmap_mode="r", allow_pickle=False)
            for name in (NIGHT_ITEM_FACTORS, NIGHT_HISTORY_FACTORS, NIGHT_OWN, NIGHT_ATTRIBUTES)
        )
        history = blocks_in(flat, bundle.manifest.blocks)
        self._histories = HistoryEncoder(bundle, history, threads)
        self._reasoner = Reasoner(bundle, history, ranking, own, attributes)
        self._titles: list[str] = json.loads((night_folder / NIGHT_TITLES).read_text("utf-8"))

    def encode(self, histories: list[History], profiles: list[str]) -> Factors:
        """Return user factors [u, d]."""
        return self._histories.encode(histories, self._texts.encode(profiles), self._clock)

    def reasons(
        self, histories: list[History], profiles: list[str], factors: Factors, item_rows: Rows
    ) -> "SaidReasons":
        """Say for each recommended item [u, k] what adds most to its score.

        `factors` [u, d] are those of the users.
        """
        found = self._reasoner.reasons(self._histories.counted(histories), factors, item_rows)
        named = np.array([bool(profile) for profile in profiles], dtype=np.bool_)
        codes = np.where((found.largest == _PROFILE) & ~named[:, None], _NO_PROFILE, found.largest)
        different, places = np.unique(codes, return_inverse=True)
        words = [self._word(code) for code in different.tolist()]
        return SaidReasons(places.reshape(item_rows.shape), words, found.items)

    def _word(self, code: int) -> str:
        return f'like "{self._titles[code]}"' if code >= 0 else self._words[-1 - code]
