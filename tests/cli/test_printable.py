"""What a plugin wrote cannot reach the terminal's controls."""

from __future__ import annotations

import json

import pytest

from jackfield_cli.errors import CliError
from jackfield_cli.printable import as_json, one_line, printable
from jackfield_cli.terminal import Terminal, report
from jackfield_cli.views import listing

HOSTILE = "\x1b[2J\x9b31m\u202egnp.exe\x07\r[red]x[/red]\x7f"


def test_controls_are_written_out() -> None:
    assert printable(HOSTILE) == "\\x1b[2J\\x9b31m\\u202egnp.exe\\x07\\x0d[red]x[/red]\\x7f"
    assert printable("Zoë\n\tπ — 日本") == "Zoë\n\tπ — 日本"
    assert one_line("a\nb\r\n\tc") == "a b c"


def test_json_says_the_same_without_them() -> None:
    shown = as_json({"text": HOSTILE, "name": "Zoë"})
    assert json.loads(shown) == {"text": HOSTILE, "name": "Zoë"}
    assert "Zoë" in shown
    assert not set(shown) & set("\x1b\x9b\u202e\x07\r\x7f")


def test_neither_tables_nor_errors_let_them_through(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.answer(None, lambda: listing(("name",), [(HOSTILE,)], empty=""))
    terminal.note(HOSTILE)
    terminal.warn(HOSTILE)
    report(CliError(HOSTILE, code=HOSTILE, hint=HOSTILE, details=(HOSTILE,)))
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "[red]x[/red]" in text
        assert not set(text) & set("\x1b\x9b\u202e\x07\r\x7f")
