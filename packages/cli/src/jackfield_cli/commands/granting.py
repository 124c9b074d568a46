"""What an installed plugin may do, and what it made of it: `permissions`, `grant`, `revoke`."""

from __future__ import annotations

import json
from typing import Annotated, Any, cast

import typer
from rich.console import RenderableType

from jackfield_cli.arguments import Installed
from jackfield_cli.command import Session, remote
from jackfield_cli.consent import pending_view
from jackfield_cli.errors import UsageError
from jackfield_cli.installation import path_of
from jackfield_cli.views import done, listing, moment, stack, styled

__all__ = ["grant", "permissions", "revoke"]

_Names = Annotated[
    list[str], typer.Argument(metavar="P…", help="Permissions, as `customers:read`.", show_default=False)
]


@remote
def permissions(session: Session, slug: Installed) -> None:
    """What a plugin may do, how often it did, when last, and on whose behalf."""
    found = session.client.get("plugins", path_of(slug), "permissions")
    session.terminal.answer(found, lambda: _view(found))


@remote
def grant(
    session: Session,
    slug: Installed,
    names: _Names,
    where: Annotated[
        str | None,
        typer.Option(
            "--where", metavar="JSON", help="Only these rows; `[]` for all of them. As they are when left out."
        ),
    ] = None,
) -> None:
    """Let a plugin do more, or let it do it with some rows only. An update that waits for it goes on."""
    rows = None if where is None else _conditions(where)
    held = session.client.get("plugins", path_of(slug))
    wanted: list[Any] = sorted(set(held["grants"]) - set(names))
    wanted += names if rows is None else [{"permission": name, "where": rows} for name in names]
    changed = session.client.write("PUT", "plugins", path_of(slug), "grants", body={"grants": wanted})
    session.terminal.answer(changed, lambda: _changed(changed, f"{slug} may use {', '.join(names)}", held))


@remote
def revoke(session: Session, slug: Installed, names: _Names) -> None:
    """Take permissions back. Calls that are under way have lost them, too."""
    held = session.client.get("plugins", path_of(slug))
    if unknown := sorted(set(names) - set(held["grants"])):
        raise UsageError(f"{slug} was not granted {unknown[0]}", code="grant-not-there")
    wanted = sorted(set(held["grants"]) - set(names))
    changed = session.client.write("PUT", "plugins", path_of(slug), "grants", body={"grants": wanted})
    session.terminal.answer(changed, lambda: _changed(changed, f"{slug} may not use {', '.join(names)} any more", held))


def _conditions(text: str) -> list[Any]:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--where: not valid JSON: {error}", code="json-invalid") from error
    if not isinstance(value, list):
        raise UsageError(
            "--where: not a list", code="json-invalid", hint="""As '[["city", "eq", "Berlin"]]'; all of them hold."""
        )
    return cast("list[Any]", value)


def _changed(changed: dict[str, Any], text: str, before: dict[str, Any]) -> RenderableType:
    if changed["version"] != before["version"]:
        return stack(done(text), done(f"the update that waited is done: {before['version']} → {changed['version']}"))
    return stack(done(text), pending_view(changed))


def _view(found: list[dict[str, Any]]) -> RenderableType:
    order = {"high": 0, "medium": 1, "low": 2}
    return listing(
        ("risk", "permission", "it may", "granted", "uses", "last used", "on behalf of"),
        [
            (
                styled(p["risk"]), p["permission"], p["text"], "yes" if p["is_granted"] else "no", p["uses"],
                moment(p["last_used_at"]), ", ".join(f"{user['user_id']} ({user['uses']})" for user in p["users"]),
            )
            for p in sorted(found, key=lambda p: (-p["uses"], order.get(p["risk"], 0), p["permission"]))
        ],
        empty="It asks for nothing.",
    )  # fmt: skip
