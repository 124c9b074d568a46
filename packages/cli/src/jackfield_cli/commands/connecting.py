"""What a plugin is connected to elsewhere: `connections`, `connect`, `disconnect`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import RenderableType

from jackfield_cli.arguments import Installed, json_object
from jackfield_cli.command import Session, remote
from jackfield_cli.errors import CliError, UsageError
from jackfield_cli.installation import path_of
from jackfield_cli.views import Cell, done, facts, listing, stack, styled

__all__ = ["connect", "connections", "disconnect"]

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="`data`, or a connection that the plugin declares.", show_default=False)
]
_SECRETS = {
    "api-key": ("value",), "basic": ("password",), "bearer": ("token",),
    "oauth2-client-credentials": ("client_secret",), "oauth2-authorization-code": ("client_secret",),
}  # fmt: skip


@remote
def connections(session: Session, slug: Installed) -> None:
    """What a plugin is connected to, and what it could be."""
    found = session.client.get("plugins", path_of(slug), "connections")["items"]
    session.terminal.answer(
        found,
        lambda: listing(
            ("name", "state", "by", "to", "why"),
            [(c["name"], styled(c["state"]), c["kind"], _target(c), c["reason"] or c["why"]) for c in found],
            empty="There is nothing to connect.",
        ),
    )


@remote
def connect(
    session: Session,
    slug: Installed,
    name: Name,
    settings: Annotated[
        str | None,
        typer.Option(
            "--settings", metavar="JSON|@FILE",
            help="`adapter`, `settings` and `credentials`; left out, it is authorized again as it is.",
        ),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Only try it: with --settings those, else what is stored.")
    ] = False,
) -> None:  # fmt: skip
    """Connect a plugin to data or an account elsewhere. It is tried first; what does not work is not saved.

    Secret values that the settings leave out are asked for. OAuth2 prints an address: its page ends with a code.
    """
    body = None if settings is None else json_object(settings, "the settings")
    path = ("plugins", path_of(slug), "connections", name)
    if body is not None and session.terminal.is_interactive:
        _ask(session, body)
    if test:
        report = session.client.write("POST", *path, "test", body=body)
        session.terminal.answer(report, lambda: _report(report))
        if not report["ok"]:
            raise CliError(f"{name} does not work", code="connection-test-failed")
        return
    if body is None:
        found = next((c for c in session.client.get(*path[:3])["items"] if c["name"] == name), None)
        if found is None or found["kind"] not in ("oauth2", "oauth2-authorization-code"):
            raise UsageError("give --settings", code="settings-missing", hint="`jackfield connect --help` shows how.")
    else:
        found = session.client.write("PUT", *path, body=body)
    if body is None or found["state"] == "unauthorized":
        found = _authorize(session, path, found)
    session.terminal.answer(
        found,
        lambda: stack(
            done(f"{slug}: {name} is connected") if found["state"] == "ready" else None,
            facts([("state", styled(found["state"])), ("to", _target(found)), ("open", found.get("authorize_url"))]),
        ),
    )


@remote
def disconnect(session: Session, slug: Installed, name: Name) -> None:
    """Take a connection back: settings and credentials are removed, tokens are revoked."""
    session.client.write("DELETE", "plugins", path_of(slug), "connections", name)
    session.terminal.answer({"disconnected": name}, lambda: done(f"{slug}: {name} is disconnected"))


def _authorize(session: Session, path: tuple[str, ...], found: dict[str, Any]) -> dict[str, Any]:
    begun = session.client.write("POST", *path, "authorize")
    if not session.terminal.is_interactive:
        # A program opens the address itself, and ends it with `POST …/confirm`.
        return {**found, "authorize_url": begun["url"]}
    session.terminal.note(f"Open this address and agree: {begun['url']}")
    code = session.terminal.secret("the code that the page shows at its end")
    return session.client.write("POST", *path, "confirm", body={"code": code})


def _ask(session: Session, body: dict[str, Any]) -> None:
    """Secret values that are not given are typed in, so that no shell and no file remembers them."""
    credentials: Any = body.get("credentials")
    if not isinstance(credentials, dict):
        return
    for field in _SECRETS.get(str(credentials.get("kind")), ()):  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  # of JSON
        if field not in credentials and (value := session.terminal.secret(field)):
            credentials[field] = value


def _target(connection: dict[str, Any]) -> str:
    settings: dict[str, Any] = connection["settings"] or {}
    return str(settings.get("base_url") or ", ".join(connection["hosts"]))


def _report(report: dict[str, Any]) -> RenderableType:
    rows: list[tuple[Cell, ...]] = [
        (
            one["entity"] or "credentials", styled("ok" if one["ok"] else "failed"), one["step"], one["message"],
            one["detail"] or one["hint"],
        )
        for one in report["findings"]
    ]  # fmt: skip
    return listing(("what", "", "step", "message", "more"), rows, empty="There was nothing to try.")
