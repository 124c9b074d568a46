"""The reference page is what the commands say, and every command has an example that it would understand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from jackfield_cli.main import app
from tools import build_cli_reference


def test_the_page_is_up_to_date() -> None:
    assert build_cli_reference.main(["--check"]) == 0


def test_an_old_page_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "cli.md"
    assert build_cli_reference.main(["--check"], page) == 1
    assert "build_cli_reference" in capsys.readouterr().out
    assert build_cli_reference.main([], page) == 0
    assert build_cli_reference.main(["--check"], page) == 0


def test_every_command_has_examples_that_parse() -> None:
    root: Any = typer.main.get_command(app)
    for title, block in re.findall(
        r"^### jackfield (.+?)\n.*?```sh\n(.*?)```", build_cli_reference.page(), re.MULTILINE | re.DOTALL
    ):
        assert block.strip(), title
        for line in block.splitlines():
            words = shlex.split(line)
            assert words[:1] + words[1 : 1 + len(title.split())] == ["jackfield", *title.split()]
            command = root
            for word in title.split():
                command = command.commands[word]
            paths = {"DIR": ".", "FILE": __file__}
            rest = [
                paths.get(argument.metavar, word) if argument is not None else word
                for word, argument in _with_arguments(words[1 + len(title.split()) :], command)
            ]
            command.make_context(title, rest)


def _with_arguments(words: list[str], command: Any) -> list[tuple[str, Any]]:
    """Each word, with the positional argument that it is for when it is the first of the line."""
    positional = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    return [(word, positional[0] if at == 0 and positional else None) for at, word in enumerate(words)]
