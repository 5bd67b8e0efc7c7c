"""The Java that Spark runs on: 17 or 21, wherever it stands.

- Looked for in this order: JAVA_HOME, the `java` on the path, Debian's folder of Java versions,
  and the project's own `.deps/`, where `make setup` puts one when there is no other.
- A version is read from the `release` file beside a Java; only without one is it started.
- `python -m jobs.spark.java` prints the home, or exits with 1: the set-up asks it before it
  installs.

Trade-off: a JAVA_HOME of another version is passed over silently, because the machine's default
Java is often not the one that Spark can use.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from models.errors import InputError

VERSIONS = (17, 21)
PROJECT = Path(__file__).resolve().parents[2]
DEPENDENCIES = PROJECT / ".deps"
DEBIAN = Path("/usr/lib/jvm")


def java_home(
    environment: Mapping[str, str] | None = None,
    debian: Path = DEBIAN,
    dependencies: Path = DEPENDENCIES,
) -> Path:
    """Return the home of the first Java of a version that Spark runs on.

    Raises InputError when there is none.
    """
    environment = os.environ if environment is None else environment
    for home in _candidates(environment, debian, dependencies):
        if (home / "bin" / "java").is_file() and major_version(home) in VERSIONS:
            return home
    raise InputError(
        "no Java 17 or 21 found by JAVA_HOME, on the path or in .deps: run `make setup`"
    )


def _candidates(environment: Mapping[str, str], debian: Path, deps: Path) -> Iterator[Path]:
    if environment.get("JAVA_HOME"):
        yield Path(environment["JAVA_HOME"])
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    if on_path:
        yield Path(on_path).resolve().parents[1]
    yield from sorted(debian.glob("*"))
    yield from sorted(deps.glob("java*"))


def major_version(home: Path) -> int:
    """Return the major version of the Java at `home`, or 0 when it can't be told."""
    try:
        text = (home / "release").read_text("utf-8", errors="replace")
    except OSError:
        text = _ask(home)
    found = re.search(r'JAVA_VERSION="(\d+)|version "(\d+)', text)
    return int(found[1] or found[2]) if found else 0


def _ask(home: Path) -> str:
    command = [str(home / "bin" / "java"), "-version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stderr


def main() -> None:
    """Print the home of the Java that Spark will run on; exit with 1 when there is none."""
    try:
        print(java_home())
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
