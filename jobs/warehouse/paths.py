"""Paths as people and programs write them: folders, `file:` URIs, URIs of object stores.

Spark and Hadoop print local paths as `file:/path`, Python and browsers as `file:///path`.

Trade-off: only `file:` is understood as local. Any other scheme needs two slashes, so that nothing
is written into a folder called `s3:`.
"""

import re
from urllib.parse import unquote

import pyarrow.fs as pf

from models.errors import InputError

REMOTE = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]*://", flags=re.IGNORECASE)
_FILE = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>/.*)", flags=re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/", flags=re.IGNORECASE)


def local_path(text: str) -> str:
    """Return the local path that a path or a `file:` URI names.

    Raises InputError for a URI of another host, and for a scheme with a single slash.
    """
    uri = _FILE.fullmatch(text)
    if uri is not None and uri["host"] in (None, "", "localhost"):
        return unquote(uri["path"])
    scheme = _SCHEME.match(text)
    if scheme is not None or text.lower().startswith("file:"):
        raise InputError(
            f"{text} is neither a folder nor a URI: write file:///path, or scheme://place"
        )
    return text


def file_system(place: str) -> tuple[pf.FileSystem, str]:
    """Return the file system of a folder or URI, and the path of it there."""
    if "://" not in place:
        return pf.LocalFileSystem(), place
    # Spark writes s3a:// or s3n:// where pyarrow expects s3://
    found, path = pf.FileSystem.from_uri(re.sub(r"^s3[an]://", "s3://", place))
    return found, path
