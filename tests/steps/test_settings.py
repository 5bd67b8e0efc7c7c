"""Settings: one definition, three sources, an error that names the key."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.settings.layers import load_settings
from jobs.settings.model import READERS, Settings, steps_of
from models.errors import InputError
from models.options import Options
from models.training.options import FinetuneOptions

PROJECT = Path(__file__).parents[2]


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text("k = 5\nseed = 1\nepochs = 7\n", "utf-8")
    loaded = load_settings(file, {"k": "9", "seed": None}, {"NIGHTRANK_SEED": "2", "HOME": "/"})
    assert (loaded.values.k, loaded.values.seed, loaded.values.epochs) == (9, 2, 7)
    assert [loaded.origins[name] for name in ("k", "seed", "epochs", "warehouse")] == [
        "flag",
        "environment",
        str(file),
        "default",
    ]


@pytest.mark.parametrize(
    ("content", "flags", "environment", "message"),
    [
        ("colour = 1", {}, {}, r"unknown setting `colour` in .*some\.toml.*; known: .*batch_users"),
        ("", {}, {"NIGHTRANK_COLOUR": "x"}, "unknown setting `colour` in environment"),
        ("", {"colour": 1}, {}, "unknown setting `colour` in flag"),
        ("k = 0", {}, {}, r"setting `k` from .*some\.toml: Input should be greater than"),
        ("", {"k": "many"}, {}, "setting `k` from flag: Input should be a valid integer"),
        ("", {}, {"NIGHTRANK_SEED": "-1"}, "setting `seed` from environment"),
        ("k =", {}, {}, r"settings file .*some\.toml is no TOML"),
        ("k = true", {}, {}, r"setting `k` from .*some\.toml: .* valid integer, got True"),
        ('k = "5"', {}, {}, r"setting `k` from .*some\.toml: .* valid integer, got '5'"),
        ("tune_minutes = false", {}, {}, r"setting `tune_minutes` from .*: .* valid number, got F"),
        ("incremental = 1", {}, {}, r"setting `incremental` from .*: .* valid boolean, got 1"),
        ("warehouse = 5", {}, {}, r"setting `warehouse` from .*: .* valid string, got 5"),
        ("k = 0", {"k": "5"}, {}, r"setting `k` from .*some\.toml: .* greater than"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path,
    content: str,
    flags: dict[str, object],
    environment: dict[str, str],
    message: str,
) -> None:
    file = tmp_path / "some.toml"
    file.write_text(content, "utf-8")
    with pytest.raises(InputError, match=message):
        load_settings(file, flags, environment)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.toml can't be read"):
        load_settings(tmp_path / "nowhere.toml", {}, {})


def test_every_setting_has_a_help_text_and_steps() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert steps_of(name), name


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_default_survives_as_text_and_as_toml(name: str, tmp_path: Path) -> None:
    default = Settings.model_fields[name].default
    variable = {f"NIGHTRANK_{name.upper()}": str(default)}
    assert getattr(load_settings(None, {}, variable).values, name) == default
    assert getattr(load_settings(None, {name: str(default)}, {}).values, name) == default
    file = tmp_path / "some.toml"
    file.write_text(f"{name} = {json.dumps(default)}\n", "utf-8")
    assert getattr(load_settings(file, {}, {}).values, name) == default


def test_a_whole_number_is_a_number_in_toml(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text("tune_minutes = 5\n", "utf-8")
    assert load_settings(file, {}, {}).values.tune_minutes == 5.0


def test_every_class_of_options_is_inherited_and_has_readers() -> None:
    inherited = [base for base in Settings.__mro__ if base.__module__.startswith("models.")]
    assert set(inherited) - {Options} == set(READERS)
    assert set(FinetuneOptions.names()) <= set(Settings.model_fields)


@pytest.mark.parametrize("options", [*READERS, FinetuneOptions])
def test_options_are_taken_from_settings_by_name(options: type[Options]) -> None:
    settings = Settings(seed=7, tuning="lora", anchor_weight=0.5, factors=32, keep_layers=3)
    chosen = options.of(settings.model_dump())
    assert flat(chosen) == {name: getattr(settings, name) for name in options.names()}


def flat(options: Options) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options:
        found |= flat(value) if isinstance(value, Options) else {name: value}
    return found


def test_settings_are_read_without_torch() -> None:
    code = "import sys, jobs.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0
