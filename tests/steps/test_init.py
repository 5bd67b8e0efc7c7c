"""The sample shop: its files, the settings in a comment each, and what is refused."""

import re
import tomllib
from pathlib import Path

import pytest

from jobs.cli import cli, main
from jobs.settings.layers import load_settings
from jobs.settings.model import Settings
from jobs.settings.shapes import commented_file, shape


def test_every_setting_stands_in_the_file_at_its_default(tmp_path: Path) -> None:
    text = commented_file()
    assert tomllib.loads(text) == {}
    lines = re.findall(r"^# ([a-z0-9_]+ = .*)$", text, flags=re.MULTILINE)
    said = tomllib.loads("\n".join(lines))
    assert said.keys() == Settings.model_fields.keys()
    file = tmp_path / "nightrank.toml"
    file.write_text("\n".join(lines), "utf-8")
    assert load_settings(file, environment={}).values == Settings()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("k", "whole number, 1 to 1000"),
        ("max_rejected_share", "number, 0 to 1"),
        ("tune_minutes", "number, above 0, at most 100000"),
        ("repeats", "never | after_days | always"),
        ("incremental", "true or false"),
        ("reports", "text"),
    ],
)
def test_a_setting_says_what_it_may_be(name: str, expected: str) -> None:
    assert shape(name) == expected


def test_help_tells_types_choices_and_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    main(["score", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--repeats <never | after_days | always>" in shown
    assert "--k <whole number, 1 to 1000>" in shown


def test_init_writes_once_and_never_over_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my-shop"
    for _ in range(2):
        main(["init", str(folder)])
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    shop = {f"shop/{name}.csv" for name in ("interactions", "items", "users")}
    assert files == {"nightrank.toml", "README.md", *shop}
    verbs = re.findall(r"^nightrank ([a-z]+)", (folder / "README.md").read_text("utf-8"), re.M)
    assert set(verbs) <= set(cli.commands)
    (folder / "nightrank.toml").write_text("k = 5\n", "utf-8")
    (folder / "README.md").unlink()
    with pytest.raises(SystemExit) as stop:
        main(["init", str(folder)])
    assert stop.value.code == 2
    assert "nightrank.toml exists already" in capsys.readouterr().err
    assert not (folder / "README.md").exists()
    with pytest.raises(SystemExit):
        main(["init", str(folder / "nightrank.toml" / "deeper")])
    assert "can't be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian', did you mean `train`?"),
        (["fly"], "No such command 'fly': see nightrank --help"),
        (["score", "--kk", "3"], "No such option"),
    ],
)
def test_a_mistyped_verb_gets_the_one_that_is_like_it(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


def test_a_mistyped_setting_gets_the_one_that_is_like_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "n.toml"
    file.write_text("positive_treshold = 1.0\n", "utf-8")
    with pytest.raises(SystemExit):
        main(["models", "--config", str(file)])
    assert "did you mean `positive_threshold`?" in capsys.readouterr().err
