"""An installed plugin: how it is named in a path, and how it is shown."""

from __future__ import annotations

import re
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from jackfield_cli.consent import pending_view, permissions_view
from jackfield_cli.contents import contributions
from jackfield_cli.errors import UsageError
from jackfield_cli.printable import as_json, printable
from jackfield_cli.views import facts, heading, moment, stack, styled

__all__ = ["detail_view", "left_alone", "path_of", "state_line"]

# The length and the exact form are the server's to judge; this keeps a slip from becoming another path.
_NAME = re.compile(r"[A-Za-z0-9_.-]+(@[A-Za-z0-9_.-]+)?")


def path_of(slug: str) -> str:
    """The path segment of `slug` or `slug@instance`.

    Raises:
        UsageError: It is neither.
    """
    if not _NAME.fullmatch(slug):
        raise UsageError(f"{slug!r} does not name a plugin", code="slug-invalid", hint="As `loyalty-points`.")
    return slug


def state_line(installed: dict[str, Any]) -> RenderableType:
    """How it stands, and what it waits for."""
    reason: dict[str, Any] = installed.get("reason") or {}
    return facts(
        [
            ("state", styled("active") if installed["state"] == "active" else _state(installed)),
            ("because", reason.get("message")),
            ("granted", installed["grants"]),
            ("configure first", installed["missing_config"]),
            ("still to be granted", installed["missing_grants"]),
        ]
    )


def detail_view(installed: dict[str, Any]) -> RenderableType:
    """All of it."""
    reason: dict[str, Any] = installed.get("reason") or {}
    instance = installed["instance"]
    return stack(
        heading(f"{installed['name']} {installed['version']}"),
        facts(
            [
                ("", installed["summary"]),
                ("slug", installed["slug"]),
                ("instance", None if instance == "default" else instance),
                ("state", _state(installed)),
                ("because", reason.get("message")),
                ("left alone", left_alone(installed)),
                ("installed", moment(installed["installed_at"])),
                ("active since", moment(installed["activated_at"]) if installed["activated_at"] else None),
                ("configure first", installed["missing_config"]),
                ("still to be granted", installed["missing_grants"]),
            ]
        ),
        pending_view(installed),
        heading("Permissions"),
        permissions_view(installed["permissions"]),
        heading("Configuration"),
        facts(
            [
                *((printable(name), as_json(value, indent=None)) for name, value in installed["config"].items()),
                *(
                    (printable(name), "set" if held["stored"] else "not set")
                    for name, held in installed["secrets"].items()
                ),
            ]
        ),
        heading("It contributes"),
        contributions(installed["contributes"]),
    )


def left_alone(installed: dict[str, Any]) -> list[str]:
    """Handlers that fail too often to be called, and until when."""
    return [
        f"{b['handler']} ({b['code']}), "
        + ("being tried" if b["state"] == "half-open" else f"{b['retry_after_s']:g} s more")
        for b in installed.get("breakers", ())
    ]


def _state(installed: dict[str, Any]) -> Text:
    return Text.assemble(styled(installed["state"]), (f"  {printable(installed['meaning'])}", "dim"))
