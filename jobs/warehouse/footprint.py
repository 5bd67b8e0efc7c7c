"""Whether a step fits into memory: what it needs, as a function of the data's size.

- `size_of` counts rows by the tables' metadata, before anything is read.
- `needs_of_training` says part by part what the arrays take that are held at the same time, in
  bytes; `needs_of_evaluation` adds what baselines take. docs/scale.md has the formulas, with what
  was measured beside them.
- `refuse_too_large` raises where the sum is more than the setting `memory_gb` allows.

Trade-off: attributes and texts are counted by a usual length, not measured; libraries and what a
step holds for a moment are a constant. A step may be refused that would just have fitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, USERS
from models.baselines.ease import AXES, EXACT_CELLS
from models.errors import InputError
from models.evaluation.question import SCORES_AT_ONCE
from models.factors.ease import EXACT_ITEMS, axes_of
from models.factors.transitions import KEPT_CELLS, MOST_PAIRS, TransitionOptions
from models.memory import free_memory

GB = 1e9
TEXT_DIM, TOKENS = 384, 30
_LIBRARIES = 1.2e9
_PER_INTERACTION, _PER_USER, _PER_ITEM_ROW = 400, 4_500, 2_000


@dataclass(frozen=True)
class Size:
    """How much data there is, and the `factors` of a pair's score."""

    interactions: int
    items: int
    users: int
    factors: int


def size_of(warehouse: Warehouse, factors: int) -> Size:
    """Return the size of the newest data; tables that are absent have none.

    Of users without a row in `users` only those are counted who have an interaction.
    """
    counts = {
        name: warehouse.dataset(name).count_rows() if warehouse.exists(name) else 0
        for name in (INTERACTIONS, ITEMS, USERS)
    }
    users = counts[USERS]
    if counts[INTERACTIONS]:
        column = warehouse.dataset(INTERACTIONS).to_table(columns=["user_id"])["user_id"]
        users = max(users, int(pc.count_distinct(column).as_py()))
    return Size(counts[INTERACTIONS], counts[ITEMS], users, factors)


def needs_of_training(size: Size) -> dict[str, float]:
    """Return the bytes that a training holds at once, part by part."""
    items, single = float(size.items), 4.0
    axes = axes_of(size.factors // 2) + 20
    exact = size.items <= EXACT_ITEMS
    pairs = 2.0 * TransitionOptions().window * size.interactions
    return {
        "libraries and the language model": _LIBRARIES,
        "interactions, in the parts of a split": float(_PER_INTERACTION * size.interactions),
        "users' histories and profiles": float(_PER_USER * size.users),
        "items' texts and attributes": _PER_ITEM_ROW * items,
        "items' text vectors and token states": items * TEXT_DIM * (3 * single + 2 * TOKENS),
        "factors": items * (2 * size.factors + 8) * single * 5,
        "EASE": 24.0 * items**2 if exact else items * axes * single * 7,
        "transitions": 24.0 * min(pairs, KEPT_CELLS) + 60.0 * min(pairs, MOST_PAIRS),
        "scores of a validation": 48.0 * SCORES_AT_ONCE,
    }


def needs_of_evaluation(size: Size) -> dict[str, float]:
    """Return the bytes that an evaluation holds at once, part by part."""
    smaller = min(size.users, size.items)
    exact = smaller * size.items <= EXACT_CELLS
    dense = 24.0 * smaller * size.items
    return needs_of_training(size) | {
        "EASE among the baselines": dense if exact else size.items * (AXES + 20) * 4.0 * 7
    }


def refuse_too_large(step: str, needs: Mapping[str, float], memory_gb: float) -> None:
    """Raise InputError where `needs` are more than `memory_gb`, or, with 0, than what is free."""
    allowed = memory_gb * GB if memory_gb else float(free_memory())
    total = sum(needs.values())
    if total <= allowed:
        return
    largest = sorted(needs, key=lambda part: -needs[part])[:3]
    parts = ", ".join(f"{part} {needs[part] / GB:.1f}" for part in largest)
    raise InputError(
        f"{step} needs about {total / GB:.1f} GB, and "
        f"{'setting `memory_gb` allows' if memory_gb else 'there are'} {allowed / GB:.1f} "
        f"{'' if memory_gb else 'free '}(GB: {parts}): use a larger machine, fewer `factors`, or "
        "say with --memory-gb what it may take"
    )
