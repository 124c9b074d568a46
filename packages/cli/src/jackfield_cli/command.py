"""What every command has in common: its options, its session, and how its errors leave it."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Annotated, Any, Concatenate, ParamSpec

import typer
from rich.markup import escape

from jackfield_cli.client import Client
from jackfield_cli.errors import CliError
from jackfield_cli.terminal import Terminal
from jackfield_sdk.errors import PluginError

__all__ = ["Session", "examples", "local", "remote"]

DEFAULT_URL = "http://127.0.0.1:8000"

P = ParamSpec("P")

_URL = Annotated[str, typer.Option("--url", envvar="JACKFIELD_URL", help="The server.", rich_help_panel="Connection")]
_TOKEN = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="JACKFIELD_TOKEN",
        help="Who you are there. The variable is better: other users of this machine can read a command line.",
        rich_help_panel="Connection",
    ),
]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with."""

    client: Client
    terminal: Terminal


def local(function: Callable[Concatenate[Terminal, P], None]) -> Callable[..., None]:
    """A command that needs no server: gets a terminal, and the option `--json`."""

    def run(values: dict[str, Any], terminal: Terminal) -> None:
        function(terminal, **values)  # pyright: ignore[reportCallIssue]  # Typer gives it what its signature says

    return _command(function, run, {"as_json": (_JSON, False)})


def remote(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """A command that speaks to the server: gets a session, and the options `--url`, `--token` and `--json`."""

    def run(values: dict[str, Any], terminal: Terminal) -> None:
        with Client(values.pop("url"), values.pop("token")) as client:
            if client.is_exposed:
                terminal.warn(f"the token goes to {client.url} unencrypted; use https")
            function(Session(client, terminal), **values)  # pyright: ignore[reportCallIssue]  # as above

    return _command(
        function, run, {"url": (_URL, DEFAULT_URL), "token": (_TOKEN, None), "as_json": (_JSON, False)}
    )  # fmt: skip


def examples(*lines: str) -> str:
    """The end of a command's help."""
    # Typer joins single lines; a blank line between keeps them apart.
    return "\n\n".join(["[bold]Examples[/bold]", *(f"[dim]$[/dim] {escape(line)}" for line in lines)])


def _command(
    function: Callable[..., None],
    run: Callable[[dict[str, Any], Terminal], None],
    added: dict[str, tuple[Any, Any]],
) -> Callable[..., None]:
    """`function` without its first parameter and with the added ones, as Typer shall see it."""
    signature = inspect.signature(function, eval_str=True)
    own = [
        parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in list(signature.parameters.values())[1:]
    ]  # fmt: skip
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in added.items()
    ]
    parameters = [*own, *more]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        terminal = Terminal(is_json=values.pop("as_json"))
        with _errors(terminal):
            run(values, terminal)

    del command.__wrapped__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # how inspect looks it up
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


@contextlib.contextmanager
def _errors(terminal: Terminal) -> Generator[None]:
    """Translates the SDK's errors, and tells the errors how they are to be shown."""
    try:
        try:
            yield
        except PluginError as error:
            raise CliError(str(error), code=error.code, hint=error.hint) from error
    except CliError as error:
        error.is_json = terminal.is_json
        raise
