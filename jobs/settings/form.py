"""The form of a manual run: `dags/form.json`, made from the settings model.

- One field for each setting that a DAG's steps read: JSON-Schema type, bounds, choices and help.
- Every field is empty at first, and an empty field leaves the setting as the machine has it: a
  scheduled run follows `nightrank.toml` and the environment, never a default frozen in a form.
- Where a run reads and writes belongs to the deployment, so `PLACES` are no fields.

Trade-off: a committed file that can grow stale (a test compares it) instead of an import of the
settings model, pydantic and all, whenever Airflow parses a DAG. `make form` writes it anew.
"""

import json
from pathlib import Path
from typing import Any

from jobs.settings.model import Settings, steps_of

FORM = Path(__file__).resolve().parents[2] / "dags" / "form.json"
DAG_STEPS = {
    "retrain": ("ingest", "train", "export", "evaluate", "promote"),
    "nightly": ("ingest", "score", "publish"),
    "maintain": ("maintain",),
}
PLACES = frozenset(
    {"warehouse", "reports", "mlflow_tracking_uri", "spark_master", "spark_memory", "columns"}
)
SCHEMA_KEYS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
    "pattern",
)  # fmt: skip


def render() -> str:
    """Return the text of `dags/form.json`: a DAG's name -> a setting's name -> its field."""
    forms = {dag: _fields(steps) for dag, steps in DAG_STEPS.items()}
    return json.dumps(forms, indent=2, ensure_ascii=False) + "\n"


def _fields(steps: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    fields = {}
    for name, schema in Settings.model_json_schema()["properties"].items():
        reading = [step for step in steps if step in steps_of(name)]
        if reading and name not in PLACES:
            fields[name] = _field(schema, reading)
    return fields


def _field(schema: dict[str, Any], reading: list[str]) -> dict[str, Any]:
    """Return the JSON Schema of a field that may stay empty."""
    field: dict[str, Any] = {
        "type": ["null", schema["type"]],
        "section": ", ".join(reading),
        "description": f"{schema['description']} Empty: as configured, else {schema['default']}.",
    }
    if "enum" in schema:
        field["enum"] = [None, *schema["enum"]]
    return field | {key: schema[key] for key in SCHEMA_KEYS if key in schema}


if __name__ == "__main__":
    FORM.write_text(render(), "utf-8")
    print(f"wrote {FORM}")
