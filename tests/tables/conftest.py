"""A warehouse of version 0.1.0, and the tables of a release that comes later."""

from pathlib import Path

import pytest
from old_warehouse import unpacked, with_column

from jobs.settings.model import Settings
from jobs.warehouse.tables import RECOMMENDATIONS, RECOMMENDATIONS_STAGED, RUNS, TABLES


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    """A warehouse that version 0.1.0 has written."""
    return unpacked(tmp_path)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later release: columns were added to three tables, in one of them with a default."""
    monkeypatch.setitem(TABLES, RECOMMENDATIONS, with_column(RECOMMENDATIONS, "'all'"))
    for name in (RECOMMENDATIONS_STAGED, RUNS):
        monkeypatch.setitem(TABLES, name, with_column(name))
