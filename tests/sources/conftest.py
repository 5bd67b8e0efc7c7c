"""How the files of a test are packed."""

import bz2
import gzip
from collections.abc import Callable

import pyarrow as pa
import pytest

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


@pytest.fixture(scope="session")
def pack() -> Callable[[str, bytes], bytes]:
    """Return what packs bytes as the ending of a file's name says."""
    return lambda ending, content: PACK[ending.lower()](content)
