"""Users to factors and to the reasons of their recommendations, without torch.

- A user's factors are what the user tower computes from the profile's text, the weighted history
  and the time since the last interaction; a pair's score is the dot product of user and item
  factors.
- The reason for a recommended item is the liked item whose history factors agree with it most.

Trade-off: batches of a fixed number of users, so that a user's factors are the same bits whoever
else is in the batch; the last batch is filled up with users without a history.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.data.arrays import Factors, Rows
from models.data.interactions import Catalogue, History
from models.data.matrices import idle_days, pad_histories
from models.serving.bundle import USER_TOWER, Bundle, open_bundle
from models.serving.item_factors import item_factors
from models.serving.runtime import open_session
from models.serving.text_vectors import TextVectors

NIGHT_ITEM_FACTORS = "item_factors.npy"
NIGHT_HISTORY_FACTORS = "history_factors.npy"
NIGHT_TITLES = "titles.json"
USERS_AT_ONCE = 64
NO_HISTORY = History(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
_NOBODY = -1


class HistoryEncoder:
    """The user tower over fixed history factors [n, d]."""

    def __init__(self, bundle: Bundle, history_factors: Factors, threads: int) -> None:
        self._session = open_session(bundle.path(USER_TOWER), threads)
        # the tower of a version of 0.2.0 or earlier sums what was liked and nothing else
        self._knows_liked = any(one.name == "liked" for one in self._session.get_inputs())
        self._length = bundle.manifest.history_length
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
            idle = [idle_days(history, clock) for history in full]
            if not self._knows_liked:
                full = [history.positives(self._threshold) for history in full]
            items, ages, liked = pad_histories(full, self._threshold, self._length, self._padding)
            feed = {
                "profiles": np.pad(profiles[start : start + len(some)], ((0, missing), (0, 0))),
                "history_factors": self._factors,
                "items": items,
                "ages": ages,
                "idle_days": np.array(idle, dtype=np.float32),
            }
            if self._knows_liked:
                feed["liked"] = liked
            parts.append(self._session.run(None, feed)[0][: len(some)])
        return np.concatenate(parts)


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
        self._texts = TextVectors(bundle.encoder, threads, device)
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
