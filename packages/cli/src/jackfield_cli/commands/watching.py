"""`watch`: what happens, as it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from jackfield_cli.command import Session, remote
from jackfield_cli.errors import CliError
from jackfield_cli.printable import printable

__all__ = ["watch"]

_AGAIN_S = 2.0
_BROKEN = {"connection-lost", "server-timeout", "server-unreachable"}


@remote
def watch(
    session: Session,
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Only these, comma-separated: installation, delivery, stats, widget, notification, schedule, channel, "
            "breaker.",
            show_default=False,
        ),
    ] = None,
    plugin: Annotated[str | None, typer.Option(help="Only what is about this plugin.", show_default=False)] = None,
    tenant: Annotated[
        str | None, typer.Option(help="For operators: only this tenant; all when absent.", show_default=False)
    ] = None,
) -> None:
    """What happens from now on, until Ctrl-C: installations, deliveries, figures, widgets, schedules, channels,
    breakers, your notifications. An operator hears of all tenants. It goes on where it was when the connection breaks.
    With `--json`, one line each."""
    after: str | None = None
    while True:
        try:
            with session.client.download("stream", kinds=kinds, plugin=plugin, tenant=tenant, after=after) as chunks:
                for event in _events(chunks):
                    after = event.get("id", after)
                    _show(session, event)
        except CliError as error:
            # Refused at the first try, it is refused for good.
            if after is None or error.code not in _BROKEN:
                raise
        time.sleep(_AGAIN_S)


def _show(session: Session, event: dict[str, str]) -> None:
    kind, data = event["event"], json.loads(event["data"])
    if session.terminal.is_json:
        session.terminal.json({"kind": kind, "data": data}, indent=None)
    elif kind == "reset":
        session.terminal.note("Something was missed.")
    elif kind not in ("ready", "end"):
        plugin, at = data.pop("plugin", None), data.pop("at", None)
        about = json.dumps(data, ensure_ascii=False)
        session.terminal.line(
            Text.assemble(
                (f"{printable(str(at or ''))[11:19]:9}", "dim"), (f"{printable(kind):13}", "bold"),
                printable(f"{plugin or ''} {about}"),
            )
        )  # fmt: skip


def _events(chunks: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Events of a `text/event-stream`, by field."""
    waiting = b""
    for chunk in chunks:
        waiting += chunk
        *whole, waiting = waiting.split(b"\n\n")
        for block in whole:
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if ": " in line[1:])
            if "event" in fields:
                yield fields
