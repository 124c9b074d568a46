"""Where a command prints: the answer on stdout, everything else on stderr."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from jackfield_cli.errors import CliError
from jackfield_cli.printable import as_json, one_line, printable

__all__ = ["Terminal", "report"]

# Into a pipe or a file a table is as wide as it has to be.
_PIPE_WIDTH = 400


class Terminal:
    """The terminal, or what stands in for it.

    Args:
        is_json: Print answers for programs. Nobody is asked anything then.
    """

    def __init__(self, *, is_json: bool = False) -> None:
        self.is_json = is_json
        self._out = _console(stderr=False)
        self._err = _console(stderr=True)

    @property
    def is_interactive(self) -> bool:
        """There is somebody to ask."""
        return not self.is_json and sys.stdin.isatty() and sys.stderr.isatty()

    def answer(self, data: Any, view: Callable[[], RenderableType]) -> None:
        """The answer of the command: data for programs, a view for people."""
        if self.is_json:
            self.json(data)
        else:
            self._out.print(view())

    def json(self, data: Any, *, indent: int | None = 2) -> None:
        """Print JSON, also for people."""
        # Not through the console, which would wrap it.
        print(as_json(data, indent=indent), flush=True)

    def line(self, text: Text) -> None:
        """One line of an answer that has no end, as a log that is followed."""
        self._out.print(text, soft_wrap=True)

    def show(self, view: RenderableType) -> None:
        """What has to be read before a question is answered."""
        self._err.print(view)

    def note(self, text: str) -> None:
        """Something worth knowing that is not the answer."""
        self._err.print(Text(printable(text), style="dim"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Something that should not be missed."""
        self._err.print(Text.assemble(("warning: ", "yellow bold"), printable(text)), soft_wrap=True)

    def progress(self) -> Console:
        """Where progress is drawn."""
        return self._err

    def confirm(self, question: str) -> bool:
        """Yes or no; no unless they say so."""
        self._err.print(Text.assemble((printable(question), "bold"), " [y/N] "), end="")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def secret(self, name: str) -> str:
        """A secret, typed unseen; empty when they only press Enter."""
        return getpass.getpass(f"{one_line(name)} (not shown, Enter leaves it out): ", stream=sys.stderr)


def report(error: CliError) -> None:
    """Say on stderr what went wrong."""
    if error.is_json:
        print(as_json(error.document()), file=sys.stderr)
        return
    console = _console(stderr=True)
    console.print(
        Text.assemble(("error: ", "red bold"), printable(str(error)), "  ", (f"[{one_line(error.code)}]", "dim")),
        soft_wrap=True,
    )
    for line in error.details:
        console.print(Text(f"  {printable(line)}"), soft_wrap=True)
    if error.hint:
        console.print(Text.assemble(("hint:  ", "cyan bold"), printable(error.hint)), soft_wrap=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    # Markup is off: square brackets in a plugin's text are square brackets.
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)
