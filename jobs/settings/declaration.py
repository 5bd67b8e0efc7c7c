"""How a setting of the jobs is declared: an option together with the steps that read it."""

from typing import Any

from models.options import option

EVERY_STEP = "every"


def setting(default: Any, help_text: str, *steps: str, **bounds: Any) -> Any:
    """Declare a setting with its help text and the steps whose commands take its flag."""
    return option(default, help_text, json_schema_extra={"steps": list(steps)}, **bounds)
