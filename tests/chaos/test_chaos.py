"""A short chaos: what `make chaos` does for minutes, for some seconds and without Spark."""

import os
from pathlib import Path

import chaos
import pytest
import reader

HERE = Path(__file__).parent
SECONDS, SEED = 15.0, 20


@pytest.mark.chaos
def test_nothing_is_lost_doubled_mixed_or_silently_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(HERE), str(HERE.parent / "support"), str(HERE.parents[1])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))  # for the server that forks the verbs
    tally = chaos.run(SECONDS, SEED, tmp_path)
    assert tally.wrong == [], tally.table()
    assert tally.injected >= 5, tally.table()  # on a machine of one's own, some fifty
    assert tally.reads >= 10


def test_the_reader_sees_what_it_should_never_see() -> None:
    row = {"user_id": "u", "rank": 1, "model_version": "m", "reason": "chaos", "score": 1.0}
    other = {**row, "rank": 2}
    assert list(reader.faults_of([row, other])) == []
    for rows, fault in (
        ([], "silently empty"),
        ([row, other, other], "1 rows stand there twice"),
        ([row, {**other, "rank": 3}], "a list has a hole"),
        ([row, {**other, "model_version": "n"}], "rows of several model versions are mixed"),
        ([row, {**other, "score": 2.0}], "rows of several stagings are mixed"),
        ([row, other, {**row, "user_id": "v"}], "a list is shorter than the others"),
    ):
        assert fault in list(reader.faults_of(rows))
