"""A plugin's log lines reach people and terminals; they cannot forge lines, move cursors, or go on for ever."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.capabilities.log import MAX_LINES, escaped, tidy_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, Zoë, \U0001f600", "plain text, Zoë, \U0001f600"),
        ("one\ntwo\r\n", "one\\ntwo\\r\\n"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\0b\x7f\x9b", "a\\x00b\\x7f\\x9b"),
        ("abc\u202etxt.exe", "abc\\u202etxt.exe"),
        ("line\u2028line", "line\\u2028line"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_not_visible_is_written_as_an_escape(text: str, shown: str) -> None:
    assert escaped(text, 100) == shown


@given(st.text(), st.integers(1, 50))
def test_every_text_ends_up_visible_and_short(text: str, limit: int) -> None:
    shown = escaped(text, limit)
    assert len(shown) <= limit + 1
    assert "\n" not in shown
    assert "\x1b" not in shown
    shown.encode()


def test_levels_and_fields_are_made_fit() -> None:
    fields = {f"f{number}": number for number in range(30)}
    (line,) = tidy_lines([("ALERT\n", "m", {"bad\nname": "v\n", "nan": math.nan, "ok": 1, "none": None, **fields})])
    level, message, tidy = line
    assert (level, message) == ("info", "m")
    assert tidy["bad\\nname"] == "v\\n"
    assert (tidy["nan"], tidy["ok"], tidy["none"]) == ("nan", 1, None)
    assert len(tidy) == 20
    json.dumps(tidy, allow_nan=False)


def test_lines_over_the_limit_are_counted_not_kept() -> None:
    lines = tidy_lines(("info", str(number), {}) for number in range(MAX_LINES + 7))
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == ("warning", "(7 more lines were dropped)", {})
