"""What the JVM asks the machine: a locale that knows accents, and a name for the account."""

import pytest

from jobs.spark.account import has_name, prepare_locale


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({}, "C.UTF-8"),
        ({"LC_ALL": "C"}, "C.UTF-8"),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, "C.UTF-8"),
        ({"LC_ALL": "", "LANG": "C"}, "C.UTF-8"),
        ({"LC_CTYPE": "C", "LANG": "de_DE.UTF-8"}, "C.UTF-8"),
        ({"LANG": "de_DE.UTF-8"}, None),
        ({"LC_CTYPE": "C.UTF-8"}, None),
        ({"LC_ALL": "de_DE.ISO-8859-1"}, "de_DE.ISO-8859-1"),
    ],
)
def test_only_a_locale_without_accents_is_replaced(
    before: dict[str, str], expected: str | None
) -> None:
    environment = dict(before)
    prepare_locale(environment)
    assert environment.get("LC_ALL") == expected


@pytest.mark.parametrize(("user_id", "expected"), [(0, True), (2_000_000_123, False)])
def test_an_account_may_have_no_name(user_id: int, expected: bool) -> None:
    assert has_name(user_id) == expected
