"""Hand over to programs of this machine: `serve`, `demo`, `doctor`, `backup`, `restore`."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from jackfield_cli.errors import CliError

__all__ = ["backup", "demo", "doctor", "restore", "serve"]

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder that everything is kept in.")]
Port = Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535)]
Host = Annotated[str, typer.Option("--host", help="Address to listen on; by default this machine only.")]


def serve(context: typer.Context, data: Data = Path(".data"), port: Port = 8000, host: Host = "127.0.0.1") -> None:
    """Run the platform alone, without a host: the API. Further options are those of `python -m jackfield serve`."""
    arguments = ["--data", str(data.absolute()), "--port", str(port), "--host", host]
    _become("jackfield", "the platform", ["serve", *arguments, *context.args])


def demo(context: typer.Context, data: Data = Path(".demo"), port: Port = 8000, host: Host = "127.0.0.1") -> None:
    """Run the demo: a shop and a clinic, with plugins. It prints where it is, and who may enter."""
    arguments = ["--data", str(data.absolute()), "--port", str(port), "--host", host]
    _become("corner_shop", "the demo", [*arguments, *context.args])


def doctor(context: typer.Context) -> None:
    """Attack this machine's isolation, and say which layer stopped what. Takes `--level`, `--matrix`, `--json`."""
    _become("jackfield", "the platform", ["doctor", *context.args])


def backup(
    context: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A file that is not there yet.")],
    data: Data = Path(".data"),
) -> None:
    """Write what a node keeps into one file, while it runs. Takes `--without-keys`, `--passphrase-file FILE`."""
    arguments = ["--data", str(data.absolute()), "--output", str(output.absolute())]
    _become("jackfield", "the platform", ["backup", *arguments, *context.args])


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    data: Data = Path(".data"),
) -> None:
    """Make a data folder of a backup: all of it or nothing. Takes `--passphrase-file FILE`."""
    arguments = [str(file.absolute()), "--data", str(data.absolute())]
    _become("jackfield", "the platform", ["restore", *arguments, *context.args])


def _become(module: str, what: str, arguments: list[str]) -> NoReturn:
    """Turn into `python -m MODULE ARGUMENTS`: signals and the exit status are then its own."""
    if importlib.util.find_spec(module) is None:
        raise CliError(
            f"{what} is not installed here ({module})",
            code="not-installed-here",
            hint="Install `jackfield-cli[server]`; an author who only publishes does not need it."
            if module == "jackfield"
            else "It is part of Jackfield's repository: `make setup` there installs it.",
        )
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: what is to run is what is installed, not a file of that name in the folder we stand in.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606  # no shell is wanted
