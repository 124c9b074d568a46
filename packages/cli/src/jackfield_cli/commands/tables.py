"""A plugin's own tables: `tables`, `export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jackfield_cli.arguments import Installed
from jackfield_cli.command import Session, remote
from jackfield_cli.installation import path_of
from jackfield_cli.views import done, listing

__all__ = ["export", "tables"]


class Format(StrEnum):
    """Of an exported table."""

    JSONL = "jsonl"
    CSV = "csv"


@remote
def tables(session: Session, slug: Installed) -> None:
    """The tables that a plugin keeps, and how much is in them."""
    found = session.client.get("plugins", path_of(slug), "tables")
    session.terminal.answer(
        found,
        lambda: listing(
            ("table", "rows", "bytes", "columns"),
            [(t["name"], t["rows"], t["size_bytes"], ", ".join(t["columns"])) for t in found["tables"]],
            empty="It has no tables.",
        ),
    )


@remote
def export(
    session: Session,
    slug: Installed,
    table: Annotated[str, typer.Argument(metavar="TABLE", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Where to save it.", show_default=False)],
    form: Annotated[
        Format, typer.Option("--format", metavar="jsonl|csv", help="JSON lines, or CSV with a header.")
    ] = Format.JSONL,
) -> None:
    """Save all rows of one of a plugin's tables."""
    size = session.client.save(out, "plugins", path_of(slug), "tables", table, "export", format=form.value)
    answer: dict[str, Any] = {"file": str(out), "bytes": size, "format": form.value}
    session.terminal.answer(answer, lambda: done(f"{table} of {slug} is saved to {out}, {size} bytes"))
