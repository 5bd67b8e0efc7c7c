"""The model registry: versions, their metrics, and the `candidate` and `champion` aliases.

- MLflow keeps runs, versions and aliases (SQLite under the warehouse unless a server is set).
- The folders of the versions stand under the warehouse; the registry names them, and keeps the
  hash of each `model.json`, which holds the hashes of all other files.

Trade-off: MLflow is imported when the registry is first asked, since it takes seconds that
`nightrank --help` need not pay.
"""

import datetime as dt
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.versions.metric_names import metric_name, stored_name
from jobs.warehouse.delta import Warehouse
from models.errors import InputError
from models.serving.bundle import MANIFEST, Bundle, manifest_hash, open_bundle

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "nightrank"
CANDIDATE, CHAMPION = "candidate", "champion"
CURVE, METRICS_AT_ONCE = "curve/", 500
_VERSION_TAG, _HASH_TAG = "model_version", "manifest_sha256"
_MISSING = {
    CANDIDATE: "no candidate yet: run `nightrank train` first",
    CHAMPION: "no champion yet: run `nightrank promote` first",
}


@dataclass(frozen=True)
class Registered:
    """A version as the registry has it: its aliases, and its metrics as MLflow shows them.

    It was `made` at that time (UTC).
    """

    version: str
    aliases: list[str]
    metrics: dict[str, float]
    made: dt.datetime


class Registry:
    """The versions of one warehouse, in an MLflow of its own or at `tracking_uri`."""

    def __init__(self, warehouse: Warehouse, tracking_uri: str = "") -> None:
        self._warehouse = warehouse
        self._tracking_uri = tracking_uri

    def register(self, bundle: Bundle, candidate: bool = True) -> None:
        """Record a version with its settings, and make it the candidate; again is the same.

        A refit is no `candidate`: nothing judges it.

        Only who has made the version, or has opened it by `candidate`, may register it.
        """
        known, manifest = self._find(bundle.version), manifest_hash(bundle.folder)
        if known is not None:
            self._client.set_model_version_tag(MODEL, known.version, _HASH_TAG, manifest)
        else:
            experiment = self._client.get_experiment_by_name(MODEL)
            identifier = (
                experiment.experiment_id if experiment else self._client.create_experiment(MODEL)
            )
            run = self._client.create_run(identifier, run_name=bundle.version)
            for name, value in bundle.manifest.settings.values.items():
                self._client.log_param(run.info.run_id, name, value)
            if bundle.manifest.trained_version is None:  # an export has the curve of its training
                self._log_curve(run.info.run_id, bundle.manifest.learning_curve)
            self._client.create_model_version(
                MODEL,
                source=bundle.folder.resolve().as_uri(),
                run_id=run.info.run_id,
                tags={_VERSION_TAG: bundle.version, _HASH_TAG: manifest},
            )
        if candidate:
            self.set_alias(CANDIDATE, bundle.version)

    def log_metrics(self, version: str, metrics: Mapping[str, float]) -> None:
        """Add metrics to the run of a version, under any names."""
        run = str(self._existing(version).run_id)
        for name, value in metrics.items():
            self._client.log_metric(run, stored_name(name), value)

    def _log_curve(self, run: str, curve: Sequence[Mapping[str, float]]) -> None:
        """Add a learning curve to a run, step by step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [
            Metric(f"{CURVE}{stored_name(name)}", float(value), now, int(entry["step"]))
            for entry in curve
            for name, value in entry.items()
            if name != "step"
        ]
        for start in range(0, len(entries), METRICS_AT_ONCE):
            self._client.log_batch(run, metrics=entries[start : start + METRICS_AT_ONCE])

    def metrics_of(self, version: str) -> dict[str, float]:
        """Return the metrics of a version by the names they were logged under."""
        found = self._metrics(self._existing(version))
        return {metric_name(name): float(value) for name, value in found.items()}

    def set_alias(self, alias: str, version: str) -> None:
        """Point `alias` at a version."""
        number = str(self._existing(version).version)
        self._client.set_registered_model_alias(MODEL, alias, number)

    def forget(self, version: str) -> None:
        """Take a version out of the registry, where it is in; its run and metrics stay."""
        entry = self._find(version)
        if entry is not None:
            self._client.delete_model_version(MODEL, str(entry.version))

    def version_of(self, alias: str) -> str | None:
        """Return the version that `alias` points at, None where it points at none."""
        number = self._number_of(alias)
        if number is None:
            return None
        return str(self._client.get_model_version(MODEL, number).tags[_VERSION_TAG])

    def candidate(self, version: str | None = None) -> Bundle:
        """Return the named version, or the candidate.

        Raises InputError where there is none, or it isn't the one that was registered.
        """
        return self._opened(version or self._required(CANDIDATE))

    def judged(self, version: str | None = None) -> Bundle:
        """Return what `candidate` returns; of a refit the version that was judged.

        Raises InputError as `candidate` does.
        """
        found = self.candidate(version)
        before = found.manifest.judged_version
        return found if before is None else self.candidate(before)

    def champion(self) -> Bundle:
        """Return the champion; InputError as `candidate` raises it."""
        return self._opened(self._required(CHAMPION))

    def _opened(self, version: str) -> Bundle:
        bundle = open_bundle(self.folder_of(version))
        if self.altered(version):
            raise InputError(
                f"{bundle.folder / MANIFEST} isn't the one that was registered: restore it, or "
                "train or export again"
            )
        return bundle

    def altered(self, version: str) -> bool:
        """Return whether a version's `model.json` isn't the one that was registered."""
        known = self._find(version)
        said = None if known is None else known.tags.get(_HASH_TAG)  # none before 0.3.0
        return said not in (None, manifest_hash(self.folder_of(version)))

    def versions(self) -> list[str]:
        """Return the names of all versions, the newest first."""
        return [str(entry.tags[_VERSION_TAG]) for entry in self._entries()]

    def registered(self) -> list[Registered]:
        """Return every version with its aliases and metrics, the newest first."""
        numbers = {alias: self._number_of(alias) for alias in (CHAMPION, CANDIDATE)}
        return [
            Registered(
                str(entry.tags[_VERSION_TAG]),
                [alias for alias, number in numbers.items() if str(entry.version) == number],
                self._metrics(entry) if entry.run_id else {},
                dt.datetime.fromtimestamp(entry.creation_timestamp / 1000, dt.UTC),
            )
            for entry in self._entries()
        ]

    def folder_of(self, version: str) -> Path:
        """Return the folder of a version, which may not exist yet; InputError for an odd name."""
        if not version.replace("-", "").isalnum():
            raise InputError(f"model version {version!r}: expected letters, digits and hyphens")
        return self._warehouse.models_folder / version

    @cached_property
    def _client(self) -> "MlflowClient":
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        uri = self._tracking_uri or f"sqlite:///{self._local_store.resolve()}"
        # two processes that make the store at once would run its migrations twice
        with self._warehouse.lock("registry") if self._is_new() else nullcontext():
            if not self._tracking_uri:
                self._local_store.parent.mkdir(parents=True, exist_ok=True)
                _refuse_unreadable(self._local_store)
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            try:
                client.get_registered_model(MODEL)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                client.create_registered_model(MODEL)
        return client

    @property
    def _local_store(self) -> Path:
        return self._warehouse.models_folder / "mlflow.db"

    def _is_new(self) -> bool:
        """Return whether there never was a version: no store is made just to say so."""
        return not self._tracking_uri and not self._local_store.exists()

    def _entries(self) -> list["ModelVersion"]:
        if self._is_new():
            return []
        found = self._client.search_model_versions(f"name = '{MODEL}'")
        return sorted(found, key=lambda entry: int(entry.version), reverse=True)

    def _find(self, version: str) -> "ModelVersion | None":
        return next((e for e in self._entries() if e.tags.get(_VERSION_TAG) == version), None)

    def _existing(self, version: str) -> "ModelVersion":
        entry = self._find(version)
        if entry is None:
            known = ", ".join(self.versions()) or "none"
            raise InputError(f"model version {version} is not registered; known: {known}")
        return entry

    def _metrics(self, entry: "ModelVersion") -> dict[str, float]:
        """Return the metrics of a version's run as they were logged, without its learning curve."""
        found = self._client.get_run(str(entry.run_id)).data.metrics
        return {name: value for name, value in found.items() if not name.startswith(CURVE)}

    def _number_of(self, alias: str) -> str | None:
        if self._is_new():
            return None
        number = self._client.get_registered_model(MODEL).aliases.get(alias)
        return None if number is None else str(number)

    def _required(self, alias: str) -> str:
        version = self.version_of(alias)
        if version is None:
            raise InputError(self._lost() or _MISSING[alias])
        return version

    def _lost(self) -> str:
        """Return what is wrong where versions lie there and the registry has none, else nothing."""
        folders = sorted(self._warehouse.models_folder.glob(f"*/{MANIFEST}"))
        names = [file.parent.name for file in folders if "." not in file.parent.name]
        if not names or self._entries():
            return ""
        return (
            f"the model registry is empty, but {names[0]} lies in {self._warehouse.models_folder}: "
            "restore the registry's store, or train and export again, which registers what is there"
        )


def _refuse_unreadable(store: Path) -> None:
    """Raise sqlite3's error at once, with the file's name, where MLflow would try for minutes."""
    try:
        with closing(sqlite3.connect(store)) as opened:
            opened.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise type(error)(f"{error}: {store}") from error
