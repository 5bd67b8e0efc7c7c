"""Results as JSON that every program reads (RFC 8259).

- NaN and infinities have no JSON: they become null.
- Keys become text: a map of dates or numbers is an object with their text as keys. A key that is a
  structure becomes its own JSON.
- Bytes become text, or hexadecimal digits where they aren't UTF-8; anything else its `str`.

Trade-off: the result is copied once before it is written.
"""

import json
import math
from typing import Any


def json_text(value: object) -> str:
    """Return `value`, of dicts, lists, numbers, texts, dates and bytes, as indented JSON."""
    return json.dumps(_plain(value), default=str, ensure_ascii=False, allow_nan=False, indent=2)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray):
        return _text(bytes(value))
    return value


def _key(key: Any) -> str:
    if key is None:
        return "null"
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, bytes | bytearray):
        return _text(bytes(key))
    if isinstance(key, dict | list | tuple):
        return json.dumps(_plain(key), default=str, ensure_ascii=False)
    return str(key)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.hex()
