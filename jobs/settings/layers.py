"""Settings from a file, the environment and flags, merged and checked once.

- Precedence, lowest first: default, file, environment, flag. The origin of each value is kept.
- An unknown key is an error in each of the three places.
- Values of the file have types of their own, which must be those of the settings: true is no
  number and "5" no integer. The environment and flags are text, which is parsed.

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
from jobs.suggestions import did_you_mean
from models.errors import InputError

ENVIRONMENT_PREFIX = "NIGHTRANK_"
DEFAULT_FILE = "nightrank.toml"


@dataclass(frozen=True)
class LoadedSettings:
    """The settings and where each value came from."""

    values: Settings
    origins: dict[str, str]


@dataclass(frozen=True)
class _Layer:
    """The values of one origin; where they are `text` they are parsed, else their types count."""

    origin: str
    values: Mapping[str, Any]
    text: bool = True

    def checked(self) -> dict[str, Any]:
        """Return the values with the types of the settings; InputError names what is wrong."""
        for name in self.values:
            if name not in Settings.model_fields:
                known = ", ".join(sorted(Settings.model_fields))
                alike = did_you_mean(name, Settings.model_fields)
                raise InputError(
                    f"unknown setting `{name}` in {self.origin}{alike}; known: {known}"
                )
        try:
            found = Settings.model_validate(self.values, strict=not self.text)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(
                f"setting `{first['loc'][0]}` from {self.origin}: {first['msg']}, "
                f"got {first['input']!r}"
            ) from error
        return {name: getattr(found, name) for name in self.values}


def load_settings(
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Merge defaults, file, environment and flags into checked settings.

    `file` None means `nightrank.toml` in the working folder, where there is one.
    Raises InputError that names the key, its origin and the bound that it broke.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    merged: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    for layer in (
        _file_layer(file),
        _environment_layer(os.environ if environment is None else environment),
        _Layer("flag", given),
    ):
        merged |= layer.checked()
        origins |= dict.fromkeys(layer.values, layer.origin)
    return LoadedSettings(Settings(**merged), origins)


def _file_layer(file: Path | None) -> _Layer:
    path = Path(DEFAULT_FILE) if file is None else file
    if file is None and not path.exists():
        return _Layer(str(path), {})
    try:
        return _Layer(str(path), tomllib.loads(path.read_text("utf-8")), text=False)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"settings file {path} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"settings file {path} is no TOML: {error}") from error


def _environment_layer(environment: Mapping[str, str]) -> _Layer:
    prefix = len(ENVIRONMENT_PREFIX)
    named = {
        name[prefix:].lower(): value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX)
    }
    return _Layer("environment", named)
