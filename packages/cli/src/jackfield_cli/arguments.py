"""Arguments with a shape of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from jackfield_cli.errors import UsageError

__all__ = ["Installed", "Limit", "Slug", "json_object"]

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The plugin, as `loyalty-points`.", show_default=False)]
Installed = Annotated[
    str,
    typer.Argument(
        metavar="SLUG", help="The installed plugin; `slug@instance` when there are several.", show_default=False
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="At most so many, the latest.")]


def json_object(text: str, what: str) -> dict[str, Any]:
    """A JSON object that is given in place, as `@file`, or as `-` on stdin.

    Raises:
        UsageError: It cannot be read, or is something else.
    """
    try:
        value: Any = json.loads(_source(text, what), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{what}: not valid JSON: {error}",
            code="json-invalid",
            hint="""Put it in single quotes: '{"customer_id": "c1"}'. @FILE reads a file, - reads stdin.""",
        ) from error
    if not isinstance(value, dict):
        raise UsageError(f"{what}: not a JSON object", code="json-invalid", hint="""Write '{"name": value}'.""")
    return cast("dict[str, Any]", value)


def _source(text: str, what: str) -> str:
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what}: {text[1:]} cannot be read: {error}", code="file-unreadable") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
