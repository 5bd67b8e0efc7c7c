"""The command line: the contract's verbs, exit codes, and what the pages tell people to type."""

import json
import re
import shlex
from pathlib import Path

import pytest

from jobs.cli import cli, main
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.versions.registry import CHAMPION

PROJECT = Path(__file__).parents[2]
README = PROJECT / "README.md"
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
VERBS = {
    *("ingest", "train", "export", "evaluate", "promote", "score", "publish", "rollback"),
    *("diff", "explain", "forget", "reproduce", "maintain", "tune", "active-learning"),
    *("sql", "models", "show-config", "doctor", "init", "views"),
}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that has to end with exit code 2 and one line; return the line."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    printed = capsys.readouterr().err.strip().splitlines()
    [line] = [one for one in printed if one.startswith("nightrank: ")]
    assert "Traceback" not in "".join(printed)
    return line


def test_the_verbs_are_those_of_the_contract() -> None:
    assert set(cli.commands) == VERBS


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_takes_warehouse_and_config_and_explains_itself(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([verb, "--help"])
    text = capsys.readouterr().out
    assert "--warehouse" in text
    assert "--config" in text
    assert "--json" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "No such command 'fly'"),
        (["train", "--colour", "red"], "No such option"),
        (["train", "--epochs", "0"], "setting `epochs` from flag"),
        (["ingest"], "Missing argument 'SOURCE"),
        (["ingest", "./nowhere"], "nowhere"),
        (["train"], "table `interactions` not found"),
        (["export"], "no candidate yet: run `nightrank train` first"),
        (["evaluate"], "no candidate yet"),
        (["evaluate", "--split", "tepid"], "split 'tepid': expected one of"),
        (["promote"], "no candidate yet"),
        (["promote", "../../etc"], "model version '../../etc': expected letters"),
        (["publish", "--run-date", "2026-01-05"], "2026-01-05 isn't staged"),
        (["score", "--run-date", "5.1.2026"], "--run-date '5.1.2026': expected a date"),
        (["diff", "2026-01-05"], "Missing argument 'DATE'"),
        (["diff", "2026-01-05", "tomorrow"], "DATE 'tomorrow': expected a date as YYYY-MM-DD"),
        (["sql", "SELEC 1"], "Parser Error"),
    ],
)
def test_bad_usage_ends_with_two_and_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(arguments, capsys)


def test_no_champion_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["score", "--run-date", "2026-01-05", "--warehouse", str(tmp_path / "w")]
    assert "no champion yet" in refused(arguments, capsys)


def test_asking_for_versions_where_there_are_none_makes_nothing(tmp_path: Path) -> None:
    registry = Context.of(Settings(warehouse=str(tmp_path / "w"))).registry
    assert (registry.version_of(CHAMPION), registry.registered()) == (None, [])
    assert not (tmp_path / "w").exists()


def test_show_config_says_where_a_value_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightrank.toml").write_text("k = 7\n", "utf-8")
    monkeypatch.setenv("NIGHTRANK_SEED", "3")
    main(["show-config", "--warehouse", "elsewhere", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["k"] == {"value": 7, "origin": "nightrank.toml"}
    assert shown["seed"] == {"value": 3, "origin": "environment"}
    assert shown["warehouse"] == {"value": "elsewhere", "origin": "flag"}
    assert shown["epochs"]["origin"] == "default"


def test_show_config_hides_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTRANK_MLFLOW_TRACKING_URI", "postgresql://me:p@ss@db:5432/mlflow")
        main(["show-config", "--json"])
    shown = json.loads(capsys.readouterr().out)["mlflow_tracking_uri"]
    assert shown == {"value": "postgresql://***@db:5432/mlflow", "origin": "environment"}


def test_readme_shows_the_whole_pipeline() -> None:
    lines = re.findall(r"^nightrank ([a-z-]+)", README.read_text("utf-8"), flags=re.MULTILINE)
    assert {"ingest", "train", "export", "evaluate", "promote", "score", "publish"} <= set(lines)
    assert len(lines) >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_commands_on_the_pages_are_commands(page: Path) -> None:
    """Lines of their own parse as they stand; within a sentence, the verb and the flags exist."""
    text = page.read_text("utf-8")
    for line in re.findall(r"^nightrank .*$", text, flags=re.MULTILINE):
        verb, *arguments = shlex.split(line, comments=True)[1:]
        cli.commands[verb].make_context(verb, arguments)
    for verb, rest in re.findall(r"`nightrank ([a-z][a-z-]*)([^`]*)`", text):
        flags = {flag for option in cli.commands[verb].params for flag in option.opts}
        assert set(re.findall(r"--[a-z][a-z-]*", rest)) <= flags, f"nightrank {verb}{rest}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_make_targets_on_the_pages_exist(page: Path) -> None:
    targets = set(re.findall(r"[`\n]make ([a-z-]+)\b", page.read_text("utf-8")))
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))


def test_readme_names_the_targets_of_a_first_day() -> None:
    targets = set(re.findall(r"\bmake ([a-z-]+)\b", README.read_text("utf-8")))
    assert {"demo", "test", "lint", "airflow"} <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target
