"""How one setting is declared: a pydantic field with a help text and the steps that read it."""

from typing import Any

from pydantic import Field

EVERY_STEP = "every"


def setting(default: Any, help_text: str, *steps: str, **bounds: Any) -> Any:
    """Declare a setting with its help text and the steps whose commands take its flag."""
    return Field(
        default,
        description=help_text,
        validate_default=True,
        json_schema_extra={"steps": list(steps)},
        **bounds,
    )
