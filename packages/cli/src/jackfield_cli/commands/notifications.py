"""`notifications`: what plugins have told you."""

from __future__ import annotations

from typing import Annotated

import typer

from jackfield_cli.arguments import Limit
from jackfield_cli.command import Session, examples, remote
from jackfield_cli.errors import UsageError
from jackfield_cli.views import done, facts, listing, moment, styled

__all__ = ["app"]

app = typer.Typer(help="What plugins have told you, and how you want to be told.", no_args_is_help=True)

_PATH = "notifications"


@app.command("list", epilog=examples("jackfield notifications list", "jackfield notifications list --unread"))
@remote
def list_command(
    session: Session,
    unread: Annotated[bool, typer.Option("--unread", help="Only those that you have not read.")] = False,
    limit: Limit = 20,
) -> None:
    """Your notifications, the latest first."""
    found = session.client.pages(_PATH, limit=limit, unread="true" if unread else None)
    session.terminal.answer(
        found,
        lambda: listing(
            ("notification", "plugin", "", "title", "text", "when"),
            [(n["id"], n["plugin"], styled(n["level"]), n["title"], n["body"], moment(n["created_at"])) for n in found],
            empty="Nothing is unread." if unread else "Nobody has told you anything.",
        ),
    )


@app.command("read", epilog=examples("jackfield notifications read ntf_01j", "jackfield notifications read --all"))
@remote
def read(
    session: Session,
    notification: Annotated[str | None, typer.Argument(metavar="ID", help="One.", show_default=False)] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Mark as read."""
    if (notification is None) != all_:
        raise UsageError("give a notification or --all", code="read-unclear")
    if notification is not None:
        session.client.write("POST", _PATH, notification, "read")
        session.terminal.answer({"marked": 1}, lambda: done(f"{notification} is read"))
        return
    answer = session.client.write("POST", _PATH, "read")
    session.terminal.answer(answer, lambda: done(f"{answer['marked']} are read"))


@app.command("preferences", epilog=examples("jackfield notifications preferences"))
@remote
def preferences(session: Session) -> None:
    """On which ways plugins reach you."""
    found = session.client.get(_PATH, "preferences")
    session.terminal.answer(
        found,
        lambda: facts(
            [
                ("all plugins", _ways(found["channels"])),
                *((plugin, _ways(ways)) for plugin, ways in sorted(found["plugins"].items())),
                ("webhook", found["webhook_url"]),
            ]
        ),
    )


@app.command("mute", epilog=examples("jackfield notifications mute loyalty-points"))
@remote
def mute(session: Session, slug: Annotated[str, typer.Argument(metavar="SLUG", show_default=False)]) -> None:
    """Hear nothing more of a plugin."""
    found = session.client.write("PUT", _PATH, "preferences", body={"plugins": {slug: "muted"}})
    session.terminal.answer(found, lambda: done(f"{slug} is muted"))


@app.command("unmute", epilog=examples("jackfield notifications unmute loyalty-points"))
@remote
def unmute(session: Session, slug: Annotated[str, typer.Argument(metavar="SLUG", show_default=False)]) -> None:
    """Hear a plugin as all others."""
    found = session.client.write("PUT", _PATH, "preferences", body={"plugins": {slug: None}})
    session.terminal.answer(found, lambda: done(f"{slug} is heard"))


def _ways(ways: dict[str, bool]) -> str:
    return ", ".join(way for way, is_on in sorted(ways.items()) if is_on) or "not at all"
