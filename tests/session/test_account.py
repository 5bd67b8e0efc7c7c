"""What the JVM asks the machine: a locale that knows accents, and a name for the account."""

import pytest

from jobs.spark.account import has_name, prepare_locale


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({}, "C.UTF-8"),
        ({"LC_ALL": "C"}, "C.UTF-8"),
        ({"LC_ALL": "POSIX", "LANG": "C.UTF-8"}, "C.UTF-8"),
        ({"LC_ALL": "", "LANG": "C"}, "C.UTF-8"),
        ({"LC_CTYPE": "C", "LANG": "C.utf8"}, "C.UTF-8"),
        ({"LANG": "C.utf8"}, None),
        ({"LC_CTYPE": "C.UTF-8"}, None),
        ({"LC_ALL": "C.utf8", "LANG": "C"}, "C.utf8"),
        # of a machine that doesn't have it
        ({"LC_ALL": "xx_XX.UTF-8"}, "C.UTF-8"),
        ({"LANG": "xx_XX.UTF-8"}, "C.UTF-8"),
        ({"LC_CTYPE": "xx_XX.ISO-8859-1", "LANG": "C.utf8"}, "C.UTF-8"),
        ({"LC_CTYPE": "C.utf8", "LANG": "xx_XX"}, None),
    ],
)
def test_a_locale_without_accents_is_replaced(before: dict[str, str], expected: str | None) -> None:
    environment = dict(before)
    prepare_locale(environment)
    assert environment.get("LC_ALL") == expected


@pytest.mark.parametrize(("user_id", "expected"), [(0, True), (2_000_000_123, False)])
def test_an_account_may_have_no_name(user_id: int, expected: bool) -> None:
    assert has_name(user_id) == expected
