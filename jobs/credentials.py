"""Passwords and tokens that a URI may carry, kept out of what people and tables are shown.

Trade-off: what looks like a credential is hidden even where it is none; the rest of a URI stays, so
that a message still says which server or store it means.
"""

import re

HIDDEN = "***"
# user:password@ of an authority, which may itself hold an @, and named parts of a query
_AUTHORITY = re.compile(r"(?<=://)[^\s/'\"]+(?=@[^\s/@'\"]+)")
_QUERY = re.compile(
    r"((?:password|passwd|pwd|token|secret|signature|sig|credential|access[_-]?key|api[_-]?key)"
    r"[\w-]*\s*=\s*)[^&\s'\";]+",
    flags=re.IGNORECASE,
)


def without_credentials(text: str) -> str:
    """Return `text` with the credentials of all URIs in it hidden."""
    return _QUERY.sub(rf"\1{HIDDEN}", _AUTHORITY.sub(HIDDEN, text))
