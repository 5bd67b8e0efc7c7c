"""doctor: read everything, change nothing, and say what is damaged and what mends it.

- Each table's log, schema, keys and files; what tables say of each other; model versions and their
  registry; the labels that wait in a sheet; disk, rights, links, Java and JARs.
- A line for each finding. The command ends with exit code 1 where there is one.
- `--repair` mends what can be mended without loss, and looks again.

Trade-off: it takes no lock, so a command that runs at the same moment may look like a damage.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from jobs.context import Context
from jobs.health.finding import Finding
from jobs.health.machine import machine_findings
from jobs.health.nights import night_findings
from jobs.health.tables import table_findings
from jobs.health.versions import version_findings
from jobs.sources.label_sheet import SHEET, read_sheet
from jobs.warehouse.migrations import is_outdated
from jobs.warehouse.tables import TABLES
from models.errors import InputError


def run(context: Context, repair: bool = False) -> dict[str, Any]:
    """Return the findings, with a line each as `text`, and 1 as `exit_code` where there are any.

    Raises InputError where there is no warehouse, or it stands in an object store.
    """
    warehouse = context.warehouse
    if warehouse.remote:
        raise InputError(f"`doctor` reads files of a local warehouse, got {warehouse.root}")
    if not Path(warehouse.root).is_dir():
        raise InputError(f"no tables under {warehouse.root}: run `nightrank ingest SOURCE` first")
    found = list(_findings(context))
    mended = []
    for one in found:
        if repair and one.repair is not None:
            one.repair()
            mended.append(one)
    left = list(_findings(context)) if mended else found
    lines = [f"mended: {one.line()}" for one in mended] + [one.line() for one in left]
    return {
        "text": "\n".join(lines) or "nothing is damaged",
        "exit_code": 1 if left else 0,
        "findings": [_shown(one) for one in left],
        "mended": [_shown(one) for one in mended],
    }


def _shown(one: Finding) -> dict[str, str]:
    return {"place": one.place, "problem": one.problem, "command": one.command}


def _findings(context: Context) -> Iterator[Finding]:
    warehouse = context.warehouse
    by_table = {name: list(table_findings(warehouse, name)) for name in TABLES}
    yield from chain.from_iterable(by_table.values())
    sound = [
        name
        for name, found in by_table.items()
        if not any(one.repair is None for one in found) and warehouse.exists(name)
    ]
    if not any(is_outdated(DeltaTable(warehouse.path(name)), TABLES[name]) for name in sound):
        yield from night_findings(warehouse, sound)  # else opening them would migrate them
    yield from version_findings(context)
    yield from _sheet(Path(context.settings.reports) / SHEET)
    yield from machine_findings(warehouse)


def _sheet(path: Path) -> Iterator[Finding]:
    try:
        read_sheet(path)
    except InputError as error:
        yield Finding(str(path), str(error), "mend it, or remove it and ask again")
