"""The shape of the house: sizes that ruff has no rule for, and contracts that name every step."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
FILES = sorted(
    path for folder in ("jobs", "models", "dags") for path in (PROJECT / folder).rglob("*.py")
)
LINES, STEP_LINES, FUNCTION_LINES = 300, 150, 40
RUN = re.compile(r"^def run\(", flags=re.MULTILINE)


def steps() -> set[str]:
    """Return the names of the steps: the modules with `run`."""
    return {path.stem for path in FILES if RUN.search(path.read_text("utf-8"))}


def test_every_folder_is_looked_at() -> None:
    assert {PROJECT / "jobs/steps/score.py", PROJECT / "models/serving/ranker.py"} <= set(FILES)


def test_no_folder_holds_more_than_fourteen_python_files() -> None:
    folders = Counter(path.parent for path in [*FILES, *(PROJECT / "tests").rglob("*.py")])
    assert {folder: n for folder, n in folders.items() if n > 14} == {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text("utf-8")
    limit = STEP_LINES if "steps" in path.parts else LINES
    assert len(text.splitlines()) <= limit
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < FUNCTION_LINES, node.name


def test_modules_are_named_by_a_noun_of_their_own() -> None:
    names = {path.stem for path in FILES}
    assert not names & {"utils", "util", "common", "helpers", "misc", "base", "core"}


def test_the_contract_of_the_steps_covers_each_of_them() -> None:
    document = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    contracts = document["tool"]["importlinter"]["contracts"]
    (listed,) = [one["modules"] for one in contracts if one["type"] == "independence"]
    assert listed == ["jobs.steps.*"]
    assert steps() == {path.stem for path in (PROJECT / "jobs/steps").rglob("[a-z]*.py")}


def test_tests_stand_in_folders_that_shadow_no_package() -> None:
    assert not list((PROJECT / "tests").rglob("__init__.py"))
    assert not list((PROJECT / "tests").glob("*/*/*.py"))
    assert not {path.name for path in (PROJECT / "tests").iterdir()} & {"jobs", "models"}
