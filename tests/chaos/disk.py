"""A small disk of its own under a warehouse, which can be filled or turned read-only."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults import DISK_FULL, NONE, READ_ONLY

DISK_MB = 256


class Disk:
    """The disk that is mounted at `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place

    @contextmanager
    def trouble(self, chance: random.Random) -> Iterator[str]:
        """Fill the disk, or make it read-only, while the body runs; yield what was done."""
        if chance.random() < 0.5:
            with self.full():
                yield DISK_FULL
            return
        readonly = subprocess.run(
            ["mount", "-o", "remount,ro", str(self.place)], check=False, capture_output=True
        )
        yield READ_ONLY if readonly.returncode == 0 else NONE
        subprocess.run(["mount", "-o", "remount,rw", str(self.place)], check=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Fill the disk while the body runs."""
        filler = self.place / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(2**16))
        yield
        filler.unlink()


@contextmanager
def mounted(folder: Path) -> Iterator[tuple[Path, Disk | None]]:
    """Yield where a warehouse may stand: on a small disk where one can be mounted."""
    place = folder / "disk"
    place.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    mounted = (
        mounted
        and not subprocess.run(["mount", *options], check=False, capture_output=True).returncode
    )
    try:
        yield place / "warehouse", Disk(place) if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)
