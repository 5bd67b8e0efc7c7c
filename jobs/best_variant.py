"""The best that a version can score with: shipped where it is exported, else fine-tuned.

Trade-off: a version that isn't exported gets its towers in a folder that is gone afterwards, and
knows only the texts of its training.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from models.bundle import Bundle, write_manifest
from models.dataset import Catalogue
from models.variants import Variant, open_variant


@contextmanager
def best_variant(bundle: Bundle, catalogue: Catalogue) -> Iterator[Variant]:
    """Yield the version's best variant, ready to score against the catalogue.

    Raises InputError where a fine-tuned one was not trained with a text.
    """
    threads = os.cpu_count() or 1
    if bundle.exported:
        yield open_variant(bundle, "shipped", catalogue, threads)
        return
    from models.compress import write_towers  # here: torch takes seconds
    from models.weights import load_towers

    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / bundle.version
        shutil.copytree(bundle.folder, folder)
        write_towers(load_towers(bundle), int(bundle.manifest["text_dim"]), folder)
        whole = write_manifest(folder, bundle.manifest)
        yield open_variant(whole, "fine_tuned", catalogue, threads)
