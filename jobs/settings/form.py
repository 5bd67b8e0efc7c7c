"""The form of a manual run: `dags/form.json`, made from the settings model.

- One field for each setting that a DAG's steps read: JSON-Schema type, bounds, choices and help.
- Every field is empty at first, and an empty field leaves the setting as the machine has it: a
  scheduled run follows `nightrank.toml` and the environment, never a default frozen in a form.
- The fields that matter most come first and in no section, all others in those of their steps.
- Bounds stand within `allOf`: Airflow checks them there when a run is triggered, but its page,
  which would turn 5000 into a bound of 1000 without a word, doesn't see them.
- Where a run reads and writes belongs to the deployment, so `PLACES` are no fields.

Trade-off: a committed file that can grow stale (a test compares it) instead of an import of the
settings model, pydantic and all, whenever Airflow parses a DAG. `make form` writes it anew.
"""

import json
from pathlib import Path
from typing import Any

from jobs.settings.model import Settings, steps_of
from jobs.settings.shapes import shape

FORM = Path(__file__).resolve().parents[2] / "dags" / "form.json"
DAG_STEPS = {
    "retrain": ("ingest", "train", "export", "evaluate", "promote"),
    "nightly": ("ingest", "score", "publish"),
    "maintain": ("maintain",),
}
PLACES = frozenset(
    {"warehouse", "reports", "mlflow_tracking_uri", "spark_master", "spark_memory", "columns"}
)
FIRST = {  # beside the source and the date
    "retrain": ("encoder", "epochs", "positive_threshold", "repeats"),
    "nightly": ("k", "repeats", "asked"),
    "maintain": ("keep_nights", "keep_days"),
}
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
SCHEMA_KEYS = ("minLength", "maxLength", "pattern")
AS_CONFIGURED = "as configured"


def render() -> str:
    """Return the text of `dags/form.json`: a DAG's name -> a setting's name -> its field."""
    forms = {dag: _fields(steps, FIRST[dag]) for dag, steps in DAG_STEPS.items()}
    return json.dumps(forms, indent=2, ensure_ascii=False) + "\n"


def _fields(steps: tuple[str, ...], first: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    schemas = Settings.model_json_schema()["properties"]
    names = [*first, *(name for name in schemas if name not in first)]
    fields = {}
    for name in names:
        reading = [step for step in steps if step in steps_of(name)]
        if reading and name not in PLACES:
            fields[name] = _field(name, schemas[name])
            if name not in first:
                fields[name]["section"] = ", ".join(reading)
    return fields


def _field(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a field that may stay empty."""
    said = "" if schema["default"] == "" else f", {schema['default']} by default"
    field: dict[str, Any] = {
        "type": ["null", schema["type"]],
        "description": f"{schema['description']} [{shape(name)}{said}]",
    }
    if schema["type"] == "boolean":
        field["enum"] = [None, True, False]
    if "enum" in schema:
        field["enum"] = [None, *schema["enum"]]
    if "enum" in field:
        field["values_display"] = {"None": AS_CONFIGURED}
    bounds = {key: schema[key] for key in BOUNDS if key in schema}
    if bounds:
        field["allOf"] = [bounds]
    return field | {key: schema[key] for key in SCHEMA_KEYS if key in schema}


if __name__ == "__main__":
    FORM.write_text(render(), "utf-8")
    print(f"wrote {FORM}")
