"""init: a folder to begin in, with a sample shop, every setting in a file, and what to run.

- The files are the same at every call: run again it changes nothing. A file that has been changed
  since, or was there before, is refused by name, and then nothing is written.
"""

from pathlib import Path
from typing import Any

from jobs.context import Context
from jobs.settings.layers import DEFAULT_FILE
from jobs.settings.shapes import commented_file
from jobs.sources.sample.shop import shop_files
from models.errors import InputError

_QUERY = """nightrank sql "SELECT rank, title, reason FROM recommendations_named
               WHERE user_id = 'C0001' ORDER BY rank\""""
COMMANDS = (
    ("nightrank ingest shop --dry-run", "what would come of it"),
    ("nightrank ingest shop", "items, customers and events become tables"),
    ("nightrank train", "some minutes: a candidate version"),
    ("nightrank export", "prunes and quantises it"),
    ("nightrank evaluate", "writes reports/evaluation.md"),
    ("nightrank promote", "makes its refit on everything the champion"),
    ("nightrank score", "every user-item pair, for the night after the newest event"),
    ("nightrank publish", "shows the night"),
    (_QUERY, ""),
)
_README = """# A sample shop

`shop/` has the files of a made-up shop: 48 items in English, German and Chinese, 90 customers and
their views, carts, purchases and returns. Columns are called as in a shop; `nightrank ingest` says
how it reads them. From this folder, with `nightrank` on the path (`. .venv/bin/activate` in
nightrank's own folder):

```
{commands}
```

For your own data, put your files in place of those in `shop/`: `interactions`, `items` and, if you
have them, `users` and `triples`, as CSV, TSV, JSON Lines or Parquet. `nightrank.toml` holds every
setting with its default, what it does and what it may be; without the `#` before it a line counts.
What kinds of events count is `columns`, and from which value on one is a purchase rather than a
look is `positive_threshold`.
"""


def run(context: Context, folder: str) -> dict[str, Any]:  # noqa: ARG001
    """Write the files into `folder`; InputError where one stands there with other contents."""
    root = Path(folder)
    width = max(len(command) for command, why in COMMANDS if why)
    commands = "\n".join(f"{command:<{width}}  # {why}" if why else command
                         for command, why in COMMANDS)  # fmt: skip
    files = {
        DEFAULT_FILE: commented_file(),
        "README.md": _README.format(commands=commands),
        **{f"shop/{name}": text for name, text in shop_files().items()},
    }
    try:
        for name, text in files.items():
            if (root / name).exists() and (root / name).read_text("utf-8") != text:
                raise InputError(f"{root / name} exists already: choose another folder")
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{root} can't be written: {error}") from error
    text = "\n".join([*(f"wrote {root / name}" for name in files), f"next: cd {root}", commands])
    return {"text": text, "files": [str(root / name) for name in files]}
