"""MLflow's store of a new warehouse, made once: its 68 migrations take seconds each time."""

import functools
import tempfile
from pathlib import Path

from jobs.context import Context
from jobs.settings.model import Settings


def give_store(settings: Settings) -> None:
    """Put a store without versions into the warehouse of `settings`, unless it has one."""
    file = _file(settings)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_empty_store())


@functools.cache
def _empty_store() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(warehouse=folder)
        Context.of(settings).registry._client.search_registered_models()
        return _file(settings).read_bytes()


def _file(settings: Settings) -> Path:
    return Context.of(settings).warehouse.models_folder / "mlflow.db"
