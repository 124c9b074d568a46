"""Channels of the tenant, and the plugins on them: `channels list`, `add`, `connect`, `assign` …"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jackfield_cli.arguments import Installed, json_object
from jackfield_cli.command import Session, examples, remote
from jackfield_cli.errors import CliError, UsageError
from jackfield_cli.installation import path_of
from jackfield_cli.views import done, facts, listing, stack, styled

__all__ = ["app"]

app = typer.Typer(help="Lines to people outside: Telegram, web chats, HTTP, voice agents.", no_args_is_help=True)

Channel = Annotated[str, typer.Argument(metavar="CHANNEL", help="Its id, or its name.", show_default=False)]


@app.command("list", epilog=examples("jackfield channels list"))
@remote
def list_channels(session: Session) -> None:
    """All channels, and how they are."""
    found = session.client.get("channels")["items"]
    session.terminal.answer(
        found,
        lambda: listing(
            ("id", "kind", "name", "state", "as", "updates", "why"),
            [
                (c["id"], c["kind"], c["name"], styled(c["state"]), c["identity"], c["updates"], c["reason"] or "")
                for c in found
            ],
            empty="There are no channels.",
        ),
    )


@app.command("add", epilog=examples("jackfield channels add telegram Support", "jackfield channels add web-chat Site"))
@remote
def add(
    session: Session,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="telegram, web-chat, http or voice-agent.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called here.")],
    settings: Annotated[
        str | None, typer.Option("--settings", metavar="JSON|@FILE", help='As \'{"updates": "polling"}\'.')
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option("--secret", envvar="JACKFIELD_CHANNEL_SECRET", help="Telegram: the bot's token; else asked for."),
    ] = None,
) -> None:
    """Make a channel and connect it. A token that is printed is never told again."""
    if kind == "telegram" and secret is None:
        if not session.terminal.is_interactive:
            raise UsageError("the bot's token is missing", code="secret-missing", hint="JACKFIELD_CHANNEL_SECRET=…")
        secret = session.terminal.secret("the bot's token")
    body: dict[str, Any] = {
        "kind": kind, "name": name, "settings": {} if settings is None else json_object(settings, "the settings"),
    }  # fmt: skip
    if secret:
        body["secret"] = secret
    made = session.client.write("POST", "channels", body=body)
    session.terminal.answer(
        made,
        lambda: facts(
            [
                ("channel", made["id"]), ("state", styled(made["state"])), ("why", made["reason"]),
                ("as", made["identity"] or None), ("key", made["public_key"]), ("token", made["token"]),
            ]
        ),
    )  # fmt: skip


@app.command("connect", epilog=examples("jackfield channels connect Support"))
@remote
def connect(session: Session, channel: Channel) -> None:
    """Connect a channel, or connect it anew."""
    found = session.client.write("POST", "channels", _id(session, channel), "connect")
    session.terminal.answer(found, lambda: facts([("state", styled(found["state"])), ("why", found["reason"])]))
    if found["state"] != "connected":
        raise CliError(f"{channel} is {found['state']}", code="channel-not-connected")


@app.command("disconnect", epilog=examples("jackfield channels disconnect Support"))
@remote
def disconnect(session: Session, channel: Channel) -> None:
    """Have nothing come in and nothing go out; settings and assignments stay."""
    found = session.client.write("POST", "channels", _id(session, channel), "disconnect")
    session.terminal.answer(found, lambda: done(f"{channel} is disconnected"))


@app.command("remove", epilog=examples("jackfield channels remove Support"))
@remote
def remove(session: Session, channel: Channel) -> None:
    """Remove a channel, and what was kept of its messages."""
    session.client.write("DELETE", "channels", _id(session, channel))
    session.terminal.answer({"removed": channel}, lambda: done(f"{channel} is removed"))


@app.command("assign", epilog=examples("jackfield channels assign Support channel-analytics --priority 50"))
@remote
def assign(
    session: Session,
    channel: Channel,
    slug: Installed,
    priority: Annotated[int, typer.Option("--priority", min=0, help="The lower one is asked first.")] = 100,
    settings: Annotated[
        str | None, typer.Option("--settings", metavar="JSON|@FILE", help="For the plugin, on this channel.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Assigned, and not at work there.")] = False,
) -> None:
    """Put a plugin on a channel, or change how it is there."""
    body: dict[str, Any] = {
        "priority": priority, "enabled": not off,
        "settings": {} if settings is None else json_object(settings, "the settings"),
    }  # fmt: skip
    found = session.client.write("PUT", "channels", _id(session, channel), "plugins", path_of(slug), body=body)
    session.terminal.answer(found, lambda: done(f"{slug} is on {channel}"))


@app.command("unassign", epilog=examples("jackfield channels unassign Support channel-analytics"))
@remote
def unassign(session: Session, channel: Channel, slug: Installed) -> None:
    """Take a plugin off a channel."""
    session.client.write("DELETE", "channels", _id(session, channel), "plugins", path_of(slug))
    session.terminal.answer({"unassigned": str(slug)}, lambda: done(f"{slug} is off {channel}"))


@app.command("show", epilog=examples("jackfield channels show Support"))
@remote
def show(session: Session, channel: Channel) -> None:
    """Plugins on a channel, and the functions that it offers."""
    id = _id(session, channel)
    plugins = session.client.get("channels", id, "plugins")["items"]
    functions = session.client.get("channels", id, "functions")["items"]
    session.terminal.answer(
        {"plugins": plugins, "functions": functions},
        lambda: stack(
            listing(
                ("plugin", "priority", ""),
                [
                    (p["plugin"] or p["installation_id"], str(p["priority"]), styled("on" if p["enabled"] else "off"))
                    for p in plugins
                ],
                empty="No plugin is on it.",
            ),
            listing(
                ("function", "of", "before"),
                [(f["name"], f["plugin"], ", ".join(f["hides"])) for f in functions],
                empty="It offers no functions.",
            ),
        ),
    )


def _id(session: Session, channel: str) -> str:
    """A channel by its id or its name."""
    found = session.client.get("channels")["items"]
    for each in found:
        if channel in (each["id"], each["name"]):
            return str(each["id"])
    raise CliError(f"there is no channel {channel}", code="channel-not-found", hint="`jackfield channels list`")
