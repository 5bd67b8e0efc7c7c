"""Settings from a file, the environment and flags, merged and checked once.

- Precedence, lowest first: default, file, environment, flag. The origin of each value is kept.
- An unknown key is an error in each of the three places.

Trade-off: a variable that starts with NIGHTRANK_ and is no setting stops every command, so that
a mistyped one is not passed over.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs.settings.model import Settings
from models.errors import InputError

ENVIRONMENT_PREFIX = "NIGHTRANK_"
DEFAULT_FILE = "nightrank.toml"


@dataclass(frozen=True)
class LoadedSettings:
    """The settings and where each value came from."""

    values: Settings
    origins: dict[str, str]


def load_settings(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Merge defaults, file, environment and flags into checked settings.

    `file` None means `nightrank.toml` in the working folder, where there is one.
    Raises InputError that names the key, its origin and the bound that it broke.
    """
    merged: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for origin, layer in (
        _file_layer(file),
        ("environment", _environment_layer(os.environ if environment is None else environment)),
        ("flag", {name: value for name, value in (flags or {}).items() if value is not None}),
    ):
        for name, value in layer.items():
            if name not in origins:
                known = ", ".join(sorted(Settings.model_fields))
                raise InputError(f"unknown setting `{name}` in {origin}; known: {known}")
            merged[name], origins[name] = value, origin
    try:
        return LoadedSettings(Settings(**merged), origins)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise InputError(
            f"setting `{name}` from {origins[name]}: {first['msg']}, got {first['input']!r}"
        ) from error


def _file_layer(file: Path | None) -> tuple[str, dict[str, Any]]:
    path = Path(DEFAULT_FILE) if file is None else file
    if file is None and not path.exists():
        return str(path), {}
    try:
        return str(path), tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"settings file {path} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"settings file {path} is no TOML: {error}") from error


def _environment_layer(environment: Mapping[str, str]) -> dict[str, str]:
    prefix = len(ENVIRONMENT_PREFIX)
    return {
        name[prefix:].lower(): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }
