"""Made-up data of any size, as a folder that `nightrank ingest` takes.

- Items belong to clusters. Each user likes a few clusters, in shares of their own, and picks there
  by popularity, which falls as a power of the rank; one pick in five comes from anywhere.
- How much a user does is log-normal. An item of a cluster that the user likes is mostly rated 4 or
  5, any other mostly 1 to 3. Users come at different days and go on for weeks.
- Titles and texts are words of the item's cluster among words of no cluster, so that a language
  model has something to learn. Everything is drawn from the seed.

Trade-off: interactions are made and written a part at a time, so that memory follows the number of
items and users. A user who picks an item twice keeps it once; half as many picks again as
wanted make up for it, but for users of many.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models.data.arrays import Numbers, Rows

ITEMS_PER_CLUSTER, CLUSTERS_PER_USER, PICKS = 200, 4, 1.5
POPULARITY_POWER, ACTIVITY_SPREAD, ANYWHERE = 0.8, 1.0, 0.2
WORDS_PER_CLUSTER, COMMON_WORDS = 12, 400
EVENTS_PER_PART = 1_000_000
FIRST_DAY, DAYS, ACTIVE_DAYS, SECONDS_IN_A_DAY = 1_672_531_200, 730, 120, 86_400
_SYLLABLES = [one + two for one in "bcdfghklmnprstvz" for two in ("a", "e", "i", "o", "u", "ar")]


@dataclass(frozen=True)
class World:
    """So many users, items and, about, interactions, drawn from a seed."""

    users: int
    items: int
    interactions: int
    seed: int = 0

    @cached_property
    def cluster(self) -> Rows:
        """The cluster of each item [n]."""
        count = max(2, self.items // ITEMS_PER_CLUSTER)
        drawn: Rows = self._random("clusters").integers(0, count, self.items)
        return drawn

    @cached_property
    def popularity(self) -> Numbers:
        """How likely each item [n] is picked, beside the others of its cluster."""
        rank = self._random("popularity").permutation(self.items) + 1.0
        return np.asarray(rank**-POPULARITY_POWER)

    @cached_property
    def activity(self) -> Rows:
        """The number of interactions of each user [u], at most."""
        wish = self._random("activity").lognormal(0.0, ACTIVITY_SPREAD, self.users)
        picks = wish * self.interactions / wish.sum()
        most = np.maximum(1, np.minimum(picks, self.items // 2))
        return np.asarray(most, dtype=np.int64)

    def parts(self) -> Iterator[pa.Table]:
        """Yield the interactions of some users after the other."""
        ends = np.cumsum(self.activity)
        starts = np.flatnonzero(np.diff(ends // EVENTS_PER_PART, prepend=-1))
        for number, users in enumerate(np.split(np.arange(self.users), starts[1:])):
            yield self._part(users, self._random("interactions", number))

    def _part(self, users: Rows, random: np.random.Generator) -> pa.Table:
        wanted = self.activity[users]
        user = np.repeat(users, np.ceil(PICKS * wanted).astype(np.int64))
        liked = random.integers(0, self._cluster_ends.size - 1, (len(users), CLUSTERS_PER_USER))
        # shares of a half, a quarter and so on: the first cluster is the favourite
        choice = np.minimum(random.geometric(0.5, len(user)), CLUSTERS_PER_USER) - 1
        cluster = liked[user - users[0], choice]
        anywhere = random.random(len(user)) < ANYWHERE
        cluster[anywhere] = random.integers(0, self._cluster_ends.size - 1, anywhere.sum())
        item = self._picked(cluster, random.random(len(user)))
        good = random.random(len(user)) < np.where(anywhere, 0.2, 0.85)
        value = np.where(good, random.integers(4, 6, len(user)), random.integers(1, 4, len(user)))
        arrival = random.uniform(0, DAYS - 1, len(users))[user - users[0]]
        day = np.minimum(arrival + random.exponential(ACTIVE_DAYS, len(user)), DAYS)
        seconds = FIRST_DAY + (day * SECONDS_IN_A_DAY).astype(np.int64)
        _, once = np.unique(user * self.items + item, return_index=True)
        once.sort()
        first = np.searchsorted(user[once], user[once])
        once = once[np.arange(len(once)) - first < wanted[user[once] - users[0]]]
        return pa.table(
            {
                "user_id": _names("u", user[once]),
                "item_id": _names("i", item[once]),
                "value": pa.array(value[once].astype(np.float64)),
                "ts": pa.array(seconds[once]),
            }
        )

    def items_table(self) -> pa.Table:
        """Return the items: id, title, text and a category."""
        random = self._random("texts")
        words = _words(int(self.cluster.max()) * WORDS_PER_CLUSTER + WORDS_PER_CLUSTER, random)
        common = _words(COMMON_WORDS, random)
        own = self.cluster[:, None] * WORDS_PER_CLUSTER
        own = words[own + random.integers(0, WORDS_PER_CLUSTER, (self.items, 8))]
        other = common[random.integers(0, COMMON_WORDS, (self.items, 6))]
        numbers = range(self.items)
        titles = [f"{a} {b} {n}" for (a, b), n in zip(own[:, :2].tolist(), numbers, strict=True)]
        mixed = np.concatenate([own[:, 2:], other], axis=1)
        texts = [" ".join(line) for line in random.permuted(mixed, axis=1).tolist()]
        categories = [f"category {number}" for number in (self.cluster // 10).tolist()]
        return pa.table(
            {
                "item_id": _names("i", np.arange(self.items)),
                "title": titles,
                "text": texts,
                "category": categories,
            }
        )

    @cached_property
    def _by_cluster(self) -> Rows:
        return np.argsort(self.cluster, kind="stable")

    @cached_property
    def _weights(self) -> Numbers:
        return np.concatenate([[0.0], np.cumsum(self.popularity[self._by_cluster])])

    @cached_property
    def _cluster_ends(self) -> Rows:
        clusters = np.arange(int(self.cluster.max()) + 2)
        return np.searchsorted(self.cluster[self._by_cluster], clusters)

    def _picked(self, cluster: Rows, draws: Numbers) -> Rows:
        """Return an item of each `cluster` [m], by popularity; of an empty one, the next item."""
        low, high = (self._weights[self._cluster_ends[cluster + side]] for side in (0, 1))
        place = np.searchsorted(self._weights, low + draws * (high - low), side="right") - 1
        return np.asarray(self._by_cluster[np.minimum(place, self.items - 1)])

    def _random(self, *what: str | int) -> np.random.Generator:
        numbers = [int.from_bytes(str(one).encode()[:8], "little") for one in what]
        return np.random.default_rng([self.seed, *numbers])


def write_world(world: World, folder: Path) -> int:
    """Write `items.parquet` and the parts of `interactions`; return how many interactions."""
    parts = folder / "interactions"
    parts.mkdir(parents=True, exist_ok=True)
    pq.write_table(world.items_table(), folder / "items.parquet")
    written = 0
    for number, table in enumerate(world.parts()):
        pq.write_table(table, parts / f"part-{number:05}.parquet")
        written += table.num_rows
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    """Write made-up data to a folder that `nightrank ingest` takes."""
    parser = argparse.ArgumentParser(prog="generated", description="Made-up data of any size")
    parser.add_argument("folder", type=Path, help="a new or empty folder")
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--interactions", type=int, required=True, help="about so many")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if chosen.folder.exists() and any(chosen.folder.iterdir()):
        parser.error(f"{chosen.folder} isn't empty")
    if min(chosen.users, chosen.items, chosen.interactions) < 1:
        parser.error("--users, --items and --interactions: expected numbers of at least 1")
    world = World(chosen.users, chosen.items, chosen.interactions, chosen.seed)
    print(f"{write_world(world, chosen.folder)} interactions in {chosen.folder}")


def _names(letter: str, numbers: Rows) -> list[str]:
    return [f"{letter}{number}" for number in numbers.tolist()]


def _words(count: int, random: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Return pronounceable words [count] of two to four syllables."""
    drawn = random.integers(0, len(_SYLLABLES), (count, 4))
    lengths = random.integers(2, 5, count)
    pairs = zip(drawn.tolist(), lengths.tolist(), strict=True)
    return np.array(["".join(_SYLLABLES[s] for s in row[:length]) for row, length in pairs])


if __name__ == "__main__":
    main()
