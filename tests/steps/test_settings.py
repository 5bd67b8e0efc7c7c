"""Settings: one definition, three sources, an error that names the key."""

from pathlib import Path

import pytest

from jobs.settings.layers import load_settings
from jobs.settings.model import Settings
from models.errors import InputError


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
        ("colour = 1", {}, {}, r"unknown setting `colour` in .*some\.toml; known: .*batch_users"),
        ("", {}, {"NIGHTRANK_COLOUR": "x"}, "unknown setting `colour` in environment"),
        ("", {"colour": 1}, {}, "unknown setting `colour` in flag"),
        ("k = 0", {}, {}, r"setting `k` from .*some\.toml: Input should be greater than"),
        ("", {"k": "many"}, {}, "setting `k` from flag: Input should be a valid integer"),
        ("", {}, {"NIGHTRANK_SEED": "-1"}, "setting `seed` from environment"),
        ("k =", {}, {}, r"settings file .*some\.toml is no TOML"),
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
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["steps"], name
