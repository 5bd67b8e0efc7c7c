"""Results as JSON: a strict parser reads them, whatever a query returns."""

import datetime as dt
import decimal
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.json_text import json_text

NAN, INFINITY = float("nan"), float("inf")


def strict(text: str) -> object:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NAN, None),
        ([INFINITY, -INFINITY, 1.5], [None, None, 1.5]),
        ({"a": {"b": [NAN]}}, {"a": {"b": [None]}}),
        ((1, (NAN,)), [1, [None]]),
        ({dt.date(2024, 1, 5): 1}, {"2024-01-05": 1}),
        ({1: "a", 2.5: "b"}, {"1": "a", "2.5": "b"}),
        ({True: "a", False: "b"}, {"true": "a", "false": "b"}),
        ({None: 1}, {"null": 1}),
        ({NAN: 1}, {"nan": 1}),
        ({(1, NAN): 1}, {"[1, null]": 1}),
        ({b"\xff\x00": b"\xff"}, {"ff00": "ff"}),
        ({b"caf\xc3\xa9": b"tea"}, {"café": "tea"}),
        ({dt.datetime(2024, 1, 5): [{dt.date(2024, 1, 5): NAN}]},
         {"2024-01-05 00:00:00": [{"2024-01-05": None}]}),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (dt.timedelta(days=1), "1 day, 0:00:00"),
        ({"key": [{"a": 1}], "value": [1]}, {"key": [{"a": 1}], "value": [1]}),
        ({3, }, [3]),
    ],
    ids=str,
)  # fmt: skip
def test_every_value_has_a_strict_json(value: object, expected: object) -> None:
    assert strict(json_text(value)) == expected


KEYS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary()
)
VALUES = st.recursive(
    KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_any_nested_value_has_a_strict_json(value: object) -> None:
    strict(json_text(value))
