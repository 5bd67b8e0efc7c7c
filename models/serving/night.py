"""One night in a worker: batches of users in, their lists out.

- `prepare` writes the arrays that all workers map into memory, once for a night.
- `top_lists` is what a Spark task does with a batch: histories and profiles become user factors,
  the ranker takes out what was had and may not be repeated, and keeps the best k, the user encoder
  says why.
- A user who comes with the k-th score of an earlier night is ranked only where an item that is
  new since could enter the list.
- A worker opens its ONNX sessions once and keeps them for its later tasks.

Trade-off: lists leave as a few long arrays, without a Python object for each entry, and what is
said about an entry as its place in a list of words.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.arrays import Factors, Rows
from models.data.interactions import SECONDS_IN_A_DAY, Catalogue, History
from models.data.repeats import NO_REPEATS, Repeats
from models.errors import InputError
from models.serving.bundle import RANKER, Bundle
from models.serving.entrants import Entrants
from models.serving.manifest import Manifest
from models.serving.ranker import NO_ITEM, Ranker, longest
from models.serving.runtime import open_session
from models.serving.user_encoder import NIGHT_ITEM_FACTORS, UserEncoder, build_night

LOGGER = logging.getLogger(__name__)

_RANKABLE, _ENTERING = "rankable.npy", "entering.npy"
_GPU_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
_BYTES_PER_SCORE = 4
# days, counting the one in progress
_SPANS = ((8.0, "this week"), (31.0, "this month"), (366.0, "this year"))


@dataclass(frozen=True)
class NightPlan:
    """What a worker needs to know; the same plan finds the same open sessions.

    `clock` is the time of asking in seconds, None for right after each user's last visit;
    `repeats` says what keeps an item off a list, `lately` when what
    is popular of late was so (`lately_until`).
    """

    bundle_folder: str
    night_folder: str
    version: str
    k: int
    batch_users: int
    block_items: int
    clock: float | None
    threads: int
    device: str
    repeats: Repeats = NO_REPEATS
    lately: str = "lately"


@dataclass(frozen=True)
class Users:
    """A batch of users: their ids, histories and profile texts.

    `floors` [b] are the k-th scores of the lists that may be kept, NaN for who has to be ranked.
    """

    ids: list[str]
    histories: list[History]
    profiles: list[str]
    floors: NDArray[np.float64]


@dataclass(frozen=True)
class Lists:
    """The lists of some users of a batch, one after another, each best first.

    `users` [m] are their places in the batch, all others keep the lists that they have; `lengths`
    [m] those of the lists; `items` (rows), `scores`, `reasons` (places in `words`) and
    `reason_items` [., 3] (rows, -1 for none) have an entry for each item of each list. `examined`
    pairs were scored in 32 bits; 0 on a GPU.
    """

    users: Rows
    lengths: Rows
    items: Rows
    scores: Factors
    reasons: Rows
    words: list[str]
    reason_items: Rows
    examined: int = 0


def prepare(
    bundle: Bundle,
    catalogue: Catalogue,
    vectors: Factors,
    entering: Collection[str],
    folder: Path,
    threads: int,
) -> None:
    """Write the night's arrays to `folder`; `vectors` [n, w] are those of the items' texts.

    `entering` are the ids of the items that lists of an earlier night may gain.
    Raises InputError naming an item whose vector is no number.
    """
    build_night(bundle, catalogue, vectors, folder, threads)
    factors = np.load(folder / NIGHT_ITEM_FACTORS, mmap_mode="r", allow_pickle=False)
    longest("item_factors", factors, catalogue.item_ids)
    np.save(folder / _RANKABLE, catalogue.available, allow_pickle=False)
    rows = [row for row, item in enumerate(catalogue.item_ids) if item in entering]
    np.save(folder / _ENTERING, np.array(rows, dtype=np.int64), allow_pickle=False)


def lately_until(manifest: Manifest, midnight: float) -> str:
    """Return in words when a version's popularity of late was so, for a night at `midnight`.

    At least half of what counts in it is of the days that the words say; "lately" where these
    would be more than a year, or where the version, of an earlier release, doesn't say.
    """
    half_life = manifest.metrics.get("recent_half_life_days")
    if half_life is None or manifest.trained_until is None:
        return "lately"
    days = half_life + max(0.0, midnight - manifest.trained_until) / SECONDS_IN_A_DAY
    return next((words for most, words in _SPANS if days <= most), "lately")


def block_items(memory_mb: int, batch_users: int) -> int:
    """Return how many items a block holds, so that its scores take at most `memory_mb`."""
    return max(1, memory_mb * 2**20 // (_BYTES_PER_SCORE * batch_users))


def usable_device(ranker: Path | bytes, device: str) -> str:
    """Return "cuda" or "cpu" for a wish of "auto", "cuda" or "cpu", and log the choice.

    `ranker` is the graph, as a file or as bytes, that is opened to find out.
    Raises InputError where "cuda" was asked for and doesn't work.
    """
    chosen = "cpu" if device == "auto" else device
    if device == "cuda" or (device == "auto" and any(map(Path.exists, _GPU_DRIVERS))):
        try:
            open_session(ranker, threads=1, device="cuda")
            chosen = "cuda"
        except InputError:
            if device == "cuda":
                raise
    LOGGER.info("scoring on %s (setting `device`: %s)", chosen, device)
    return chosen


def top_lists(plan: NightPlan, users: Users) -> Lists:
    """Return the lists of a batch of users, but of those who keep theirs.

    A list is shorter than k where fewer rankable items are left.
    Raises InputError naming the user whose vector is no number.
    """
    encoder, ranker, entrants = _opened(plan)
    factors = encoder.encode(users.histories, users.profiles)
    longest("user_factors", factors, users.ids)
    seen = [kept_off(history, plan) for history in users.histories]
    again = np.flatnonzero(entrants.may_enter(factors, seen, users.floors))
    before = ranker.examined
    scores, rows = ranker.top_k(factors[again], [seen[user] for user in again], plan.k)
    said = encoder.reasons(
        [users.histories[user] for user in again],
        [users.profiles[user] for user in again],
        factors[again],
        rows,
    )
    there = rows != NO_ITEM
    return Lists(
        users=again,
        lengths=there.sum(axis=1),
        items=rows[there],
        scores=scores[there],
        reasons=said.places[there],
        words=said.words,
        reason_items=said.items[there],
        examined=ranker.examined - before,
    )


def kept_off(history: History, plan: NightPlan) -> Rows:
    """Return the items that the user has had and may not get again."""
    if plan.repeats == NO_REPEATS or not len(history.item):
        return history.item
    asked = float(history.time.max()) if plan.clock is None else plan.clock
    return history.item[plan.repeats.kept_off(history.value, history.time, asked)]


@lru_cache(maxsize=1)
def _opened(plan: NightPlan) -> tuple[UserEncoder, Ranker, Entrants]:
    bundle, night = Path(plan.bundle_folder), Path(plan.night_folder)
    items = np.load(night / NIGHT_ITEM_FACTORS, mmap_mode="r", allow_pickle=False)
    ranker = Ranker(
        bundle / RANKER,
        items,
        np.load(night / _RANKABLE, allow_pickle=False),
        plan.batch_users,
        plan.block_items,
        plan.threads,
        plan.device,
    )
    entering = np.load(night / _ENTERING, allow_pickle=False)
    encoder = UserEncoder(bundle, night, plan.clock, plan.threads, plan.device, plan.lately)
    return encoder, ranker, Entrants(items, entering, plan.block_items)
