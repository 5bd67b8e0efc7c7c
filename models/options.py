"""How the options of a method are declared: one class for each method, one field for each option.

- The classes stand in the `options.py` of a package, beside the algorithms that read them.
- A field has a type, a default, a help text and bounds. The settings of `jobs` inherit the classes;
  flags, TOML keys, environment variables and Airflow's form are made from these fields.
- Types are strict: true is no number, and text is parsed by the settings' own layers alone.

Trade-off: the options don't stand in the algorithm's module itself, because most of those load
torch, and whoever reads settings (a scoring worker, `nightrank --help`) must not.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


def option(default: Any, help_text: str, **field: Any) -> Any:
    """Declare an option; `field` are bounds and whatever else pydantic's `Field` takes."""
    return Field(default, description=help_text, validate_default=True, **field)


class Options(BaseModel):
    """The options of a method, checked once and immutable; other `Options` may be fields of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Take the options out of `settings` by name."""
        parts = cls._parts()
        return cls(
            **{
                name: parts[name].of(settings) if name in parts else settings[name]
                for name in cls.model_fields
            }
        )

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the settings that `of` reads."""
        parts = cls._parts()
        return [
            name
            for field in cls.model_fields
            for name in (parts[field].names() if field in parts else [field])
        ]

    @classmethod
    def _parts(cls) -> dict[str, type["Options"]]:
        return {
            name: field.annotation
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, Options)
        }


class SeedOptions(Options):
    """The seed, which every method that draws at random has among its options."""

    seed: int = option(0, "Seed of everything random.", ge=0, le=2**31 - 1)
