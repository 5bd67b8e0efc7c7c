"""The form of a manual run says what the settings model says."""

import json

import jsonschema
import pytest

from jobs.settings.form import DAG_STEPS, FIRST, FORM, PLACES, render
from jobs.settings.model import Settings, steps_of

FORMS = json.loads(render())


def test_the_committed_form_is_current() -> None:
    assert FORM.read_text("utf-8") == render(), "stale: run `make form` and commit dags/form.json"


@pytest.mark.parametrize("dag", DAG_STEPS)
def test_every_setting_of_a_step_is_a_field_except_places(dag: str) -> None:
    read = {name for name in Settings.model_fields if set(DAG_STEPS[dag]) & set(steps_of(name))}
    assert set(FORMS[dag]) == read - PLACES


def test_places_are_settings() -> None:
    assert set(Settings.model_fields) >= PLACES


def test_a_field_keeps_type_bounds_and_help() -> None:
    seed = FORMS["retrain"]["seed"]
    assert seed["type"] == ["null", "integer"]
    assert seed["allOf"] == [{"minimum": 0, "maximum": 2**31 - 1}]
    assert not {"minimum", "maximum"} & seed.keys()  # the page would move a value to the bound
    assert seed["description"] == (
        "Seed of everything random. [whole number, 0 to 2147483647, 0 by default]"
    )
    for value in (-1, 2**31, 0.5):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, seed)
    assert seed["section"] == "train, export, evaluate"


def test_choices_may_be_left_as_configured() -> None:
    chosen = FORMS["retrain"]["quantisation"]
    assert chosen["enum"] == [None, "auto", "int8", "fp16", "none"]
    assert FORMS["nightly"]["incremental"]["enum"] == [None, True, False]
    for dag in FORMS.values():
        for field in (one for one in dag.values() if "enum" in one):
            assert field["values_display"] == {"None": "as configured"}


@pytest.mark.parametrize("dag", DAG_STEPS)
def test_a_few_fields_come_first_and_the_others_in_sections(dag: str) -> None:
    without = [name for name, field in FORMS[dag].items() if "section" not in field]
    assert tuple(without) == FIRST[dag]
    assert tuple(FORMS[dag])[: len(without)] == FIRST[dag]
    assert "Empty:" not in json.dumps(FORMS[dag])


@pytest.mark.parametrize("dag", DAG_STEPS)
def test_each_field_is_a_schema_that_takes_nothing_and_the_default(dag: str) -> None:
    for name, field in FORMS[dag].items():
        jsonschema.Draft202012Validator.check_schema(field)
        jsonschema.validate(None, field)
        jsonschema.validate(Settings.model_fields[name].default, field)
