"""Progress of long work: a bar on a terminal, plain lines in a log.

- Another thread looks at a counter every second; the work itself is not touched.
- Percent of users, pairs a second and time left, every ten seconds and at the end.

Trade-off: Spark hands counters over when a task ends, so the steps are as fine as the tasks.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOGGER = logging.getLogger(__name__)
_LOOK_SECONDS, _LINE_SECONDS = 1.0, 10.0


@contextmanager
def shown(done: Callable[[], int], users: int, items: int) -> Iterator[None]:
    """Show how far the scoring of `users` against `items` is, while the body runs."""
    finished = threading.Event()
    report = _bar if sys.stderr.isatty() else _lines
    watcher = threading.Thread(target=report, args=(finished, done, users, items), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def line(done: int, users: int, items: int, seconds: float) -> str:
    """Return one line on `done` of `users` users, scored against `items` in `seconds`."""
    text = f"scored {done:,} of {users:,} users ({100 * done // max(users, 1)} %)"
    if not done or not seconds:
        return text
    left = seconds * max(users - done, 0) / done
    return f"{text}, {done * items / seconds:,.0f} pairs a second, {left:.0f} s left"


def _lines(finished: threading.Event, done: Callable[[], int], users: int, items: int) -> None:
    start = written = time.monotonic()
    while not finished.wait(_LOOK_SECONDS):
        now = time.monotonic()
        if now - written >= _LINE_SECONDS:
            written = now
            LOGGER.info("%s", line(done(), users, items, now - start))
    LOGGER.info("%s", line(done(), users, items, time.monotonic() - start))


def _bar(finished: threading.Event, done: Callable[[], int], users: int, items: int) -> None:
    start = time.monotonic()
    columns = (
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("scoring", total=users)
        over = False
        while not over:
            over = finished.wait(_LOOK_SECONDS)
            count = done()
            text = line(count, users, items, time.monotonic() - start)
            bar.update(task, completed=min(count, users), description=text)
