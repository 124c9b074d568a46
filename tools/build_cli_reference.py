"""Writes docs/reference/cli.md from the commands' own options, help and examples.

`python -m tools.build_cli_reference` writes it; with `--check` it only says whether what is there is what would be
written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from rich.text import Text

from jackfield_cli.main import app
from tools.committed import ROOT

PAGE = ROOT / "docs" / "reference" / "cli.md"

_HEAD = """\
# Command line reference

Made from the source by `python -m tools.build_cli_reference`. `jackfield COMMAND --help` says the same.

An answer goes to stdout, everything else to stderr. The exit status is 0 when all went well, 1 when something was
refused or failed, 2 when the command line is wrong. An error is a line with a stable code in brackets, and a hint.

| variable | what |
| --- | --- |
| `JACKFIELD_URL` | the server; `http://127.0.0.1:8000` when it is not set |
| `JACKFIELD_TOKEN` | who you are there |
| `JACKFIELD_HOME` | the folder with your signing keys; `jackfield` in your configuration folder when it is not set |

Commands that speak to the server take `--url` and `--token` as well. With `--json` a command prints JSON, and an error
is JSON on stderr: `detail`, `code`, `hint`, and what the server's problem document holds besides.
"""

_COMMON = {"url", "token", "as_json", "help", "install_completion", "show_completion"}


def page() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(app)
    panels: dict[str, list[tuple[str, Any]]] = {}
    for name, command in root.commands.items():
        found = panels.setdefault(command.rich_help_panel, [])
        if (commands := getattr(command, "commands", None)) is not None:
            found += [(f"{name} {inner}", entry) for inner, entry in commands.items()]
        else:
            found.append((name, command))
    parts = [_HEAD]
    for panel, entries in panels.items():
        parts.append(f"## {panel}")
        parts += ["\n".join(_command(name, command)) for name, command in entries]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [
        parameter
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name not in _COMMON
    ]
    usage = " ".join(["jackfield", name, *(_metavar(a) for a in arguments), *(["[OPTIONS]"] if options else [])])
    yield f"### jackfield {name}\n\n```text\n{usage}\n```\n\n{command.help.strip()}\n"
    if arguments or options:
        yield "| | |\n| --- | --- |"
        for parameter in (*arguments, *options):
            yield f"| `{_cell(_label(parameter))}` | {_cell(_meaning(parameter))} |"
        yield ""
    examples = [line for line in Text.from_markup(command.epilog or "").plain.split("\n\n") if line.startswith("$ ")]
    yield "```sh\n" + "\n".join(line.removeprefix("$ ") for line in examples) + "\n```"


def _metavar(argument: Any) -> str:
    text = str(argument.metavar or argument.name.upper())
    return text if argument.required or text.startswith("[") else f"[{text}]"


def _label(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).strip("[]")
    names = ", ".join(sorted(parameter.opts, key=len, reverse=True))
    if getattr(parameter, "is_flag", False):
        return names
    return f"{names} {parameter.metavar or 'VALUE'}"


def _meaning(parameter: Any) -> str:
    text = parameter.help or ""
    default = parameter.default
    if default in (None, False, "", (), []) or not getattr(parameter, "show_default", True) or default == "{}":
        return text
    return f"{text} By default `{getattr(default, 'value', default)}`.".strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str] | None = None, path: Path = PAGE) -> int:
    made = page()
    if "--check" in (sys.argv[1:] if arguments is None else arguments):
        if path.is_file() and path.read_text(encoding="utf-8") == made:
            return 0
        print(f"{path.name} is not what the source says: run `python -m tools.build_cli_reference`")
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
