"""What a step works with: the settings, the warehouse, the registry and the record of runs.

The command line builds one context for each command and hands it to the step, so that a step opens
the warehouse once and asks MLflow through one client.
"""

import datetime as dt
from contextlib import AbstractContextManager
from dataclasses import dataclass

from jobs.settings.model import Settings
from jobs.versions.registry import Registry
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.lineage import Run, recorded


@dataclass(frozen=True)
class Context:
    """The settings of a command, and the warehouse and registry that they name."""

    settings: Settings
    warehouse: Warehouse
    registry: Registry

    @classmethod
    def of(cls, settings: Settings) -> "Context":
        """Return the context of `settings`; nothing is opened, made or imported yet."""
        warehouse = Warehouse(settings.warehouse)
        return cls(settings, warehouse, Registry(warehouse, settings.mlflow_tracking_uri))

    def recorded(
        self, step: str, run_date: dt.date | None = None, model_version: str | None = None
    ) -> AbstractContextManager[Run]:
        """Record the body of `step` as one row of `runs`, as `recorded` of the lineage does."""
        return recorded(self.warehouse, step, run_date, model_version)
