"""What a setting may be, in words and as the lines of a `nightrank.toml`."""

import json
from functools import cache
from typing import Any

from jobs.settings.model import Settings, steps_of

_KINDS = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false",
    "object": "table",
}  # fmt: skip
_WIDTH = 96


def shape(name: str) -> str:
    """Return the type of the setting `name` with its choices or bounds, as "whole number, 1 to 9".

    A bound that is itself not allowed is told by "above" or "below".
    """
    schema = _schemas()[name]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    bounds = _bounds(schema)
    return f"{_KINDS[schema['type']]}{', ' if bounds else ''}{bounds}"


def commented_file() -> str:
    """Return a `nightrank.toml` with every setting at its default, each in a comment."""
    lines = ["# Settings of nightrank. Take the # away from a line to change it.", ""]
    for name, field in Settings.model_fields.items():
        steps = ", ".join(steps_of(name))
        lines += _wrapped(f"{field.description} [{shape(name)}; read by: {steps}]")
        # a table ends the file's own keys, so it stands in a line of its own
        lines += [f"# {name} = {json.dumps(field.default, ensure_ascii=False)}", ""]
    return "\n".join(lines)


def _bounds(schema: dict[str, Any]) -> str:
    if {"minimum", "maximum"} <= schema.keys():
        return f"{_said(schema['minimum'])} to {_said(schema['maximum'])}"
    words = {
        "minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most",
        "exclusiveMaximum": "below", "pattern": "as",
    }  # fmt: skip
    return ", ".join(f"{word} {_said(schema[key])}" for key, word in words.items() if key in schema)


def _said(bound: float | str) -> str:
    return f"{bound:.15g}" if isinstance(bound, float) else str(bound)


def _wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= _WIDTH:
            lines.append("")
        lines[-1] += f" {word}"
    return [f"#{line}" for line in lines]


@cache
def _schemas() -> dict[str, dict[str, Any]]:
    schemas: dict[str, dict[str, Any]] = Settings.model_json_schema()["properties"]
    return schemas
