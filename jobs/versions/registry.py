"""The model registry: versions, their metrics, and the `candidate` and `champion` aliases.

- MLflow keeps runs, versions and aliases (SQLite under the warehouse unless a server is set).
- The folders of the versions stand under the warehouse; the registry names them.

Trade-off: MLflow is imported inside the functions, since it takes seconds that `nightrank --help`
need not pay.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.settings.model import Settings
from jobs.warehouse.delta import Warehouse
from models.errors import InputError
from models.serving.bundle import Bundle, open_bundle

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "nightrank"
CANDIDATE, CHAMPION = "candidate", "champion"
CURVE, METRICS_AT_ONCE = "curve/", 500
_VERSION_TAG = "model_version"
_MISSING = {
    CANDIDATE: "no candidate yet: run `nightrank train` first",
    CHAMPION: "no champion yet: run `nightrank promote` first",
}


def register(settings: Settings, bundle: Bundle) -> None:
    """Record a version with its settings, and make it the candidate; again is the same."""
    client = _client(settings)
    if _find(client, bundle.version) is None:
        experiment = client.get_experiment_by_name(MODEL)
        identifier = experiment.experiment_id if experiment else client.create_experiment(MODEL)
        run = client.create_run(identifier, run_name=bundle.version)
        for name, value in bundle.manifest.settings.values.items():
            client.log_param(run.info.run_id, name, value)
        client.create_model_version(
            MODEL,
            source=bundle.folder.resolve().as_uri(),
            run_id=run.info.run_id,
            tags={_VERSION_TAG: bundle.version},
        )
    set_alias(settings, CANDIDATE, bundle.version)


def log_metrics(settings: Settings, version: str, metrics: Mapping[str, float]) -> None:
    """Add metrics to the run of a version; names may hold letters, digits and `_-./`."""
    client = _client(settings)
    entry = _existing(client, version)
    for name, value in metrics.items():
        client.log_metric(str(entry.run_id), name.replace("@", "_at_"), value)


def log_curve(settings: Settings, version: str, curve: Sequence[Mapping[str, float]]) -> None:
    """Add a learning curve, step by step, to the run of a version."""
    from mlflow.entities import Metric

    client, now = _client(settings), int(time.time() * 1000)
    entries = [
        Metric(f"{CURVE}{name.replace('@', '_at_')}", float(value), now, int(entry["step"]))
        for entry in curve
        for name, value in entry.items()
        if name != "step"
    ]
    run = str(_existing(client, version).run_id)
    for start in range(0, len(entries), METRICS_AT_ONCE):
        client.log_batch(run, metrics=entries[start : start + METRICS_AT_ONCE])


def metrics_of(settings: Settings, version: str) -> dict[str, float]:
    """Return the metrics of a version by the names they were logged under."""
    client = _client(settings)
    found = _figures(client, _existing(client, version))
    return {name.replace("_at_", "@"): float(value) for name, value in found.items()}


def set_alias(settings: Settings, alias: str, version: str) -> None:
    """Point `alias` at a version."""
    client = _client(settings)
    client.set_registered_model_alias(MODEL, alias, str(_existing(client, version).version))


def version_of(settings: Settings, alias: str) -> str | None:
    """Return the version that `alias` points at, None where it points at none."""
    found = _aliased(_client(settings), alias)
    return None if found is None else str(found.tags[_VERSION_TAG])


def candidate(settings: Settings, version: str | None = None) -> Bundle:
    """Return the named version, or the candidate; InputError where there is none."""
    return open_bundle(folder_of(settings, version or _require(settings, CANDIDATE)))


def champion(settings: Settings) -> Bundle:
    """Return the champion; InputError where there is none yet."""
    return open_bundle(folder_of(settings, _require(settings, CHAMPION)))


def versions(settings: Settings) -> list[str]:
    """Return the names of all versions, the newest first."""
    return [str(entry.tags[_VERSION_TAG]) for entry in _entries(_client(settings))]


def folder_of(settings: Settings, version: str) -> Path:
    """Return the folder of a version, which may not exist yet."""
    if not version.replace("-", "").isalnum():
        raise InputError(f"model version {version!r}: expected letters, digits and hyphens")
    return Warehouse(settings.warehouse).models_folder / version


def run(settings: Settings) -> dict[str, Any]:
    """List the versions with their metrics and aliases, newest first."""
    client = _client(settings)
    champion_version, candidate_version = (
        None if found is None else found.version
        for found in (_aliased(client, CHAMPION), _aliased(client, CANDIDATE))
    )
    rows: list[dict[str, Any]] = []
    for entry in _entries(client):
        metrics = _figures(client, entry) if entry.run_id else {}
        aliases = [
            alias
            for alias, number in ((CHAMPION, champion_version), (CANDIDATE, candidate_version))
            if entry.version == number
        ]
        rows.append({"version": entry.tags[_VERSION_TAG], "aliases": aliases, "metrics": metrics})
    lines = [
        f"{row['version']}  {','.join(row['aliases']) or '-':<20}  "
        + "  ".join(f"{name} {value:.4f}" for name, value in sorted(row["metrics"].items()))
        for row in rows
    ]
    return {"models": rows, "text": "\n".join(lines) or "no versions yet: run `nightrank train`"}


def _client(settings: Settings) -> "MlflowClient":
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri = settings.mlflow_tracking_uri or _local_store(settings)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        client.get_registered_model(MODEL)
    except MlflowException:
        client.create_registered_model(MODEL)
    return client


def _local_store(settings: Settings) -> str:
    folder = Warehouse(settings.warehouse).models_folder
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder.resolve() / 'mlflow.db'}"


def _entries(client: "MlflowClient") -> list["ModelVersion"]:
    found = client.search_model_versions(f"name = '{MODEL}'")
    return sorted(found, key=lambda entry: int(entry.version), reverse=True)


def _find(client: "MlflowClient", version: str) -> "ModelVersion | None":
    return next((e for e in _entries(client) if e.tags.get(_VERSION_TAG) == version), None)


def _existing(client: "MlflowClient", version: str) -> "ModelVersion":
    entry = _find(client, version)
    if entry is None:
        known = ", ".join(str(e.tags[_VERSION_TAG]) for e in _entries(client)) or "none"
        raise InputError(f"model version {version} is not registered; known: {known}")
    return entry


def _figures(client: "MlflowClient", entry: "ModelVersion") -> dict[str, float]:
    """Return the metrics of a version's run as they were logged, without its learning curve."""
    found = client.get_run(str(entry.run_id)).data.metrics
    return {name: value for name, value in found.items() if not name.startswith(CURVE)}


def _aliased(client: "MlflowClient", alias: str) -> "ModelVersion | None":
    number = client.get_registered_model(MODEL).aliases.get(alias)
    return None if number is None else client.get_model_version(MODEL, str(number))


def _require(settings: Settings, alias: str) -> str:
    version = version_of(settings, alias)
    if version is None:
        raise InputError(_MISSING[alias])
    return version
