"""Vectors of texts, encoded once for each model version and kept in Delta by the text's hash.

- A night reads the vectors of its version, encodes the texts that have none, and appends those.
- A vector depends on its text and the version alone (`models.serving.text_vectors.TextVectors`), so
  what is read has the same bits as what would be encoded.

- Of items only those are encoded that the version doesn't know: the others have factors of their
  own, whatever their texts say.

Trade-off: all vectors of a version pass through the driver: 1.5 GB for a million texts. Vectors
of old versions stay until somebody deletes their partition.
"""

import logging
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import TABLES, TEXT_VECTORS
from models.data.arrays import Factors
from models.data.interactions import Catalogue
from models.data.texts import item_texts
from models.serving.bundle import Bundle
from models.serving.text_vectors import TextVectors

LOGGER = logging.getLogger(__name__)


def item_vectors(
    warehouse: Warehouse, bundle: Bundle, catalogue: Catalogue, threads: int
) -> tuple[Factors, int]:
    """Return the vectors [n, w] of the items' texts, and how many had to be encoded.

    Items that the version knows have zeros, since nothing asks for theirs.
    """
    known = set(bundle.item_ids)
    fresh = [row for row, item in enumerate(catalogue.item_ids) if item not in known]
    texts = item_texts(catalogue)
    found, encoded = text_vectors(warehouse, bundle, [texts[row] for row in fresh], threads)
    vectors = np.zeros((len(texts), found.shape[1]), dtype=np.float32)
    vectors[fresh] = found
    return vectors, encoded


def text_vectors(
    warehouse: Warehouse, bundle: Bundle, texts: Sequence[str], threads: int
) -> tuple[Factors, int]:
    """Return the vectors [n, w] of `texts` by the version, and how many had to be encoded."""
    keys = [sha256(text.encode()).hexdigest() for text in texts]
    known = _known(warehouse, bundle.version)
    fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if fresh:
        encoded = TextVectors(bundle.encoder, threads).encode(list(fresh.values()))
        known |= dict(zip(fresh, encoded, strict=True))
        columns = {
            "text_sha256": list(fresh),
            "model_version": [bundle.version] * len(fresh),
            "vector": list(encoded),
        }
        schema = TABLES[TEXT_VECTORS].arrow_schema
        warehouse.append(TEXT_VECTORS, pa.Table.from_pydict(columns, schema=schema))
    LOGGER.info("texts: %d, of which %d had to be encoded", len(texts), len(fresh))
    width = bundle.manifest.encoder.text_dim
    return np.array([known[key] for key in keys], np.float32).reshape(-1, width), len(fresh)


def _known(warehouse: Warehouse, version: str) -> dict[str, Factors]:
    if not warehouse.exists(TEXT_VECTORS):
        return {}
    rows = warehouse.dataset(TEXT_VECTORS).to_table(
        columns=["text_sha256", "vector"], filter=ds.field("model_version") == version
    )
    if not rows.num_rows:
        return {}
    vectors = pc.list_flatten(rows.column("vector")).to_numpy().reshape(rows.num_rows, -1)
    keys = [str(key) for key in rows.column("text_sha256").to_pylist()]
    return dict(zip(keys, vectors, strict=True))
