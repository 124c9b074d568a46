"""Pieces that commands show their answers with. Whatever comes from elsewhere is made printable here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jackfield_cli.printable import as_json, one_line, printable

__all__ = [
    "STATES", "Cell", "done", "facts", "failure_view", "heading", "listing", "log_line", "moment", "size", "stack",
    "styled",
]  # fmt: skip

Cell = str | int | float | Text | None

STATES = {
    "active": "green", "ok": "green", "done": "green", "published": "green", "inactive": "yellow", "pending": "yellow",
    "running": "cyan", "unchecked": "dim", "skipped": "dim", "yanked": "red", "failing": "red", "failed": "red",
    "dead": "red", "quarantined": "red bold", "open": "red",
    "half-open": "yellow", "low": "green", "medium": "yellow", "high": "red bold",
}  # fmt: skip
"""How words are coloured that say how something stands."""

_LEVELS = {"debug": "dim", "info": "cyan", "warning": "yellow", "error": "red"}


def listing(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str) -> RenderableType:
    """A table, or a sentence when there is nothing in it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table if table.row_count else Text(empty, style="dim")


def facts(pairs: Iterable[tuple[str, Cell | Sequence[str]]]) -> RenderableType:
    """Names and values; those without a value are left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value is None or value == "" or value == [] or value == ():
            continue
        shown = ", ".join(value) if isinstance(value, Sequence) and not isinstance(value, str | Text) else value
        grid.add_row(name, _cell(shown))
    return grid


def done(text: str) -> Text:
    """Something that was carried out."""
    return Text.assemble(("✓ ", "green bold"), printable(text))


def heading(text: str) -> Text:
    return Text(f"\n{one_line(text)}", style="bold")


def stack(*parts: RenderableType | None) -> Group:
    """One under the other."""
    return Group(*(part for part in parts if part is not None))


def styled(word: str) -> Text:
    """A word that says how something stands."""
    return Text(one_line(word), style=STATES.get(word, ""))


def moment(text: Any) -> str:
    """A time of the API, in local time."""
    if not isinstance(text, str):
        return "–"
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(count: int) -> str:
    """Bytes for people."""
    if count < 1024:
        return f"{count} bytes"
    return f"{count / 1024:.1f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MiB"


def log_line(line: dict[str, Any]) -> Text:
    """One line that a plugin logged."""
    fields = " ".join(f"{one_line(name)}={as_json(value, indent=None)}" for name, value in line["fields"].items())
    level = line["level"]
    return Text.assemble(
        (f"{moment(line['logged_at'])} ", "dim"), (f"{one_line(level):<8}", _LEVELS.get(level, "")),
        printable(line["message"]), (f"  {fields}" if fields else "", "dim"),
    )  # fmt: skip


def failure_view(failure: dict[str, Any]) -> RenderableType:
    """A call that failed, with its trace."""
    return stack(
        heading(f"{moment(failure['started_at'])}  {failure['kind']} {failure['name']}  {failure['status']}"),
        facts(
            [
                ("error", failure["error_message"]), ("code", failure["error_code"]), ("version", failure["version"]),
                ("caller", failure["caller_id"]), ("invocation", failure["id"]),
            ]
        ),
        Text(printable(failure["error_trace"]).rstrip(), style="dim") if failure["error_trace"] else None,
    )  # fmt: skip


def _cell(value: Cell) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, float):
        return Text(f"{value:.1f}")
    return Text("–" if value is None else printable(str(value)))
