"""An exported version in the making: a folder beside its own, which is renamed once it is complete.

- It begins with the trained version's files, by hard links, whose hashes are known.
- Every file that is added is hashed once, when it is added.
- Where the export fails or is refused, the folder is removed.

Trade-off: a hard link must never be written to, or the trained version would change too; the
version is verified when it is opened after the export.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from jobs.versions.exported import ExportInputs
from jobs.versions.workplace import partial_folder, put_in_place
from models.compression.onnx_export import export_encoder, write_towers
from models.network.encoder import TextEncoder
from models.network.towers import TwoTowers
from models.serving.bundle import (
    MANIFEST,
    RANKER,
    Bundle,
    ExportedEncoder,
    refuse_incomplete,
    save_manifest,
    with_new_files,
)
from models.serving.ranker_graph import build_ranker


class Draft:
    """The version that `inputs` make, on its way into `models_folder`.

    It is named once its quantisation is chosen; until then it carries the trained version's name.
    """

    def __init__(self, inputs: ExportInputs, models_folder: Path) -> None:
        self._inputs = inputs
        self._models_folder = models_folder
        folder = partial_folder(models_folder, inputs.prefix)
        self.bundle = Bundle(folder, inputs.trained.manifest)

    def __enter__(self) -> Self:
        """Make the folder, with links to the trained version's files."""
        folder = self.bundle.folder
        shutil.copytree(self._inputs.trained.folder, folder, copy_function=os.link)
        (folder / MANIFEST).unlink()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what is left of a version that was not completed."""
        shutil.rmtree(self.bundle.folder, ignore_errors=True)

    def add_towers(self, towers: TwoTowers) -> None:
        """Write the towers and the ranker."""
        write_towers(towers, self.bundle.manifest.encoder.text_dim, self.bundle.folder)
        build_ranker(self.bundle.folder / RANKER)
        self.bundle = with_new_files(self.bundle)

    def add_encoder(self, encoder: TextEncoder, quantisation: str) -> ExportedEncoder:
        """Write the text encoder with that kind of `quantisation`, and return it."""
        folder, files = self.bundle.folder, self.bundle.manifest.files
        export_encoder(encoder, folder, quantisation)
        named = replace(self._inputs.manifest(quantisation), files=files)
        self.bundle = with_new_files(Bundle(folder, named))
        return self.bundle.encoder

    def complete(self, metrics: Mapping[str, float]) -> Path:
        """Add `metrics` to those of the training, and return the version's own folder.

        The caller holds the lock of the version.
        """
        manifest = self.bundle.manifest
        complete = replace(manifest, metrics={**manifest.metrics, **metrics})
        bundle = Bundle(self.bundle.folder, complete)
        refuse_incomplete(bundle)
        save_manifest(bundle)
        return put_in_place(bundle.folder, self._models_folder / manifest.version)
