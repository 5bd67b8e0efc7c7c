"""Names of metrics as MLflow takes them, and back.

MLflow takes letters, digits and a few signs, and the metrics here are named `ndcg@10`. Version
0.1.0 stored every `@` as `_at_`, so that `diverged_at_step` came back as `diverged@step`. Now:

- An `@` before a digit is stored as `_at_`, as before.
- Anything else that would be refused or misread is stored as `-x` and its code in hexadecimal and
  `-`: any other `@`, a `_at_` before a digit, and `-x` itself.

Trade-off: an odd name is hard to read in MLflow's pages; no name of nightrank's own is odd.
"""

import re

_REPLACED = re.compile(r"(@)(?=[0-9])|_(?=at_[0-9])|-(?=x)|[^A-Za-z0-9_-]")
_STORED = re.compile(r"_at_(?=[0-9])|-x([0-9a-f]+)-")


def stored_name(name: str) -> str:
    """Return the name under which MLflow keeps the metric `name`."""
    return _REPLACED.sub(lambda match: "_at_" if match[1] else f"-x{ord(match[0]):x}-", name)


def metric_name(stored: str) -> str:
    """Return the metric's name from the one that MLflow keeps; names of 0.1.0 are read right."""
    return _STORED.sub(lambda match: chr(int(match[1], 16)) if match[1] else "@", stored)
