"""What an export is made from, and its name: settings, code, and for "auto" the machine.

- The name is the trained version's, a hash, and the kind of quantisation:
  `7406c8645c60-030ee7-int8`.
- With quantisation "auto" the kind is measured. The hash then holds the machine's description too,
  so that an export on a like machine finds the version and measures nothing, and one on another
  machine measures for itself.

Trade-off: two machines that come to the same kind make two versions of the same content.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from jobs.versions.code import code_hash, identity_hash
from models.serving.bundle import MANIFEST, Bundle
from models.serving.manifest import Manifest, Value


@dataclass(frozen=True)
class ExportInputs:
    """What an export is made from; `machine` describes where the quantisation is measured.

    It is None where the settings say the kind of quantisation.
    """

    trained: Bundle
    settings: dict[str, Value]
    machine: dict[str, str] | None

    @property
    def prefix(self) -> str:
        """The export's name without the kind of quantisation."""
        identity = {"settings": self.settings, "code": code_hash(), "machine": self.machine}
        return f"{self.trained.version}-{identity_hash(identity)[:6]}"

    def made_before(self, models_folder: Path) -> Path | None:
        """Return the folder of the version that these inputs made, None where there is none."""
        found = sorted(models_folder.glob(f"{self.prefix}-*/{MANIFEST}"))
        return next((file.parent for file in found if "." not in file.parent.name), None)

    def manifest(self, quantisation: str) -> Manifest:
        """Return the manifest of the version with that kind of quantisation."""
        return replace(
            self.trained.manifest,
            version=f"{self.prefix}-{quantisation}",
            trained_version=self.trained.version,
            export_settings=self.settings,
            export_code=code_hash(),
            export_machine=self.machine,
            quantisation=quantisation,
        )
