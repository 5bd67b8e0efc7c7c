"""How long the lists in 32 bits were: in the log, with a warning where they are the catalogue."""

import logging

import pytest

from jobs.nights.staging import tell_examined


@pytest.mark.parametrize(
    ("examined", "users", "items", "level"),
    [
        (0, 5, 1000, None),
        (0, 0, 1000, None),
        (5 * 24, 5, 1000, logging.INFO),
        (5 * 150, 5, 200, logging.INFO),  # a small catalogue, where it costs nothing
        (5 * 900, 5, 1000, logging.WARNING),
    ],
)
def test_the_length_is_told(
    examined: int, users: int, items: int, level: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        tell_examined(examined, users, items, 10)
    said = [record.levelno for record in caplog.records]
    assert max(said, default=None) == level
    if level == logging.WARNING:
        assert "left 900 of 1000 items a user" in caplog.text
