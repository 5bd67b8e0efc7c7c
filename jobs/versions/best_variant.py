"""The best that a version can score with: shipped where it is exported, else fine-tuned.

`with_towers` makes a trained version one that can be asked before its export.

Trade-off: a version that isn't exported gets its towers in a folder that is gone afterwards, and
knows only the texts of its training.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from models.data.interactions import Catalogue
from models.evaluation.variants import Variant, open_variant
from models.serving.bundle import Bundle, write_manifest
from models.serving.text_vectors import TextEncoders


@contextmanager
def best_variant(bundle: Bundle, catalogue: Catalogue) -> Iterator[Variant]:
    """Yield the version's best variant, ready to score against the catalogue.

    Raises InputError where a fine-tuned one was not trained with a text.
    """
    encoders = TextEncoders()
    if bundle.exported:
        yield open_variant(bundle, "shipped", catalogue, encoders)
        return
    with with_towers(bundle) as whole:
        yield open_variant(whole, "fine_tuned", catalogue, encoders)


@contextmanager
def with_towers(trained: Bundle) -> Iterator[Bundle]:
    """Yield a copy of a trained version that has its towers as files."""
    from models.compression.onnx_export import write_towers  # here: torch takes seconds
    from models.training.weights import load_towers

    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / trained.version
        shutil.copytree(trained.folder, folder)
        write_towers(load_towers(trained), trained.manifest.encoder.text_dim, folder)
        yield write_manifest(folder, trained.manifest)
