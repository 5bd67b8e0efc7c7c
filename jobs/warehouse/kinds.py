"""What `interactions` says of the kinds of events that its values were made of.

- Where a source's values come from kinds (view, cart, purchase), the largest that occurs is kept in
  the Delta property `nightrank.had_from`: an interaction of that value says that its user has had
  the item, which a view beside purchases doesn't. A later source can raise it.
- It belongs to a version of the table, as rows do, so that a training, its report and a night that
  read the same version agree.
- The setting `had_from` comes before it.

Trade-off: a warehouse whose events were ingested by an earlier release says nothing until the next
ingest; until then any interaction counts, as it did.
"""

from collections.abc import Mapping

from deltalake import DeltaTable

from jobs.settings.model import Settings
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS

HAD_FROM = "nightrank.had_from"


def remember_largest(warehouse: Warehouse, largest: float) -> None:
    """Keep the `largest` value of a kind, unless a larger one is kept; makes the table if need be.

    Takes the lock of `interactions`.
    """
    with warehouse.lock(INTERACTIONS):
        warehouse.create(INTERACTIONS)
        if largest > largest_kind(warehouse):
            table = DeltaTable(warehouse.path(INTERACTIONS))
            table.alter.set_table_properties({HAD_FROM: f"{largest:g}"}, raise_if_not_exists=False)


def largest_kind(warehouse: Warehouse, version: int | None = None) -> float:
    """Return the largest value of a kind that the table, at `version`, says; 0 without kinds."""
    return float(warehouse.properties(INTERACTIONS, version).get(HAD_FROM, "0"))


def with_had_from(
    settings: Settings, warehouse: Warehouse, versions: Mapping[str, int]
) -> Settings:
    """Return the settings with what `interactions` says where `had_from` isn't set.

    `versions` are those of the tables that a step reads.
    """
    if settings.had_from:
        return settings
    found = largest_kind(warehouse, versions[INTERACTIONS])
    return settings.model_copy(update={"had_from": found})
