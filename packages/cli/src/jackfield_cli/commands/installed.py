"""Installed plugins: `list`, `show`, `configure`, `grants`, `activate`, `deactivate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jackfield_cli.arguments import Installed, json_object
from jackfield_cli.command import Session, remote
from jackfield_cli.consent import permissions_view
from jackfield_cli.errors import UsageError
from jackfield_cli.installation import detail_view, left_alone, path_of, state_line
from jackfield_cli.views import done, listing, stack, styled

__all__ = ["activate", "configure", "deactivate", "grants", "list_command", "show"]


@remote
def list_command(
    session: Session,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only those in this state; may be repeated.")
    ] = None,
) -> None:
    """The installed plugins."""
    found = session.client.pages("plugins", limit=10_000, state=state or None)
    session.terminal.answer(
        found,
        lambda: listing(
            ("plugin", "version", "state", "what it does", *(("because",) if any(map(_because, found)) else ())),
            [
                (
                    _name(p), p["version"], styled(p["state"]), p["summary"],
                    *((because,) if (because := _because(p)) else ()),
                )
                for p in found
            ],
            empty="Nothing is installed. `jackfield search` shows what there is.",
        ),
    )  # fmt: skip


@remote
def show(session: Session, slug: Installed) -> None:
    """An installed plugin: how it stands, what it may, how it is configured."""
    found = session.client.get("plugins", path_of(slug))
    session.terminal.answer(found, lambda: detail_view(found))


@remote
def configure(
    session: Session,
    slug: Installed,
    config: Annotated[
        str,
        typer.Argument(
            metavar="JSON|@FILE",
            help="All of it: what is left out takes its default.",
            show_default=False,
        ),
    ],
) -> None:
    """Replace a plugin's configuration. A secret that is left out stays as it is; one that is missing is asked for."""
    values = json_object(config, "the configuration")
    if session.terminal.is_interactive:
        values |= _asked(session, slug, values)
    changed = session.client.write("PUT", "plugins", path_of(slug), "config", body={"config": values})
    session.terminal.answer(changed, lambda: stack(done(f"{slug} is configured"), state_line(changed)))


@remote
def grants(
    session: Session,
    slug: Installed,
    give: Annotated[list[str] | None, typer.Option("--give", metavar="P", help="Grant it; may be repeated.")] = None,
    withdraw: Annotated[
        list[str] | None, typer.Option("--withdraw", metavar="P", help="Take it back; may be repeated.")
    ] = None,
) -> None:
    """What a plugin may do; change it with --give and --withdraw. The plugin's next call is under the new grants."""
    given, taken = set(give or ()), set(withdraw or ())
    if both := given & taken:
        raise UsageError(f"{min(both)} is both given and withdrawn", code="grants-contradictory")
    found = session.client.get("plugins", path_of(slug))
    if given or taken:
        wanted = sorted((set(found["grants"]) | given) - taken)
        found = session.client.write("PUT", "plugins", path_of(slug), "grants", body={"grants": wanted})
    session.terminal.answer(
        {"grants": found["grants"], "permissions": found["permissions"], "missing_grants": found["missing_grants"]},
        lambda: permissions_view(found["permissions"]),
    )


@remote
def activate(session: Session, slug: Installed) -> None:
    """Put a plugin to work."""
    changed = session.client.write("POST", "plugins", path_of(slug), "activate")
    session.terminal.answer(changed, lambda: stack(done(f"{slug} is active"), state_line(changed)))


@remote
def deactivate(session: Session, slug: Installed) -> None:
    """Take a plugin from work. Its data, configuration and grants stay."""
    changed = session.client.write("POST", "plugins", path_of(slug), "deactivate")
    session.terminal.answer(changed, lambda: stack(done(f"{slug} is inactive"), state_line(changed)))


def _because(plugin: dict[str, Any]) -> str:
    """What somebody has to know about it, or do."""
    reason, pending = plugin["reason"], plugin["pending_update"]
    told = [reason["message"]] if reason else []
    if pending is not None:
        lacks = ", ".join(p["permission"] for p in pending["missing"]) or "another try"
        told.append(f"an update to {pending['version']} waits for {lacks}")
    if alone := left_alone(plugin):
        told.append(f"left alone: {', '.join(alone)}")
    return "; ".join(told)


def _name(plugin: dict[str, Any]) -> str:
    return plugin["slug"] if plugin["instance"] == "default" else f"{plugin['slug']}@{plugin['instance']}"


def _asked(session: Session, slug: str, values: dict[str, Any]) -> dict[str, str]:
    """Secrets that have no value yet and were not given, typed in by hand so that no shell remembers them."""
    held = session.client.get("plugins", path_of(slug))["secrets"]
    wanted = [name for name, state in held.items() if not state["stored"] and name not in values]
    typed = {name: session.terminal.secret(name) for name in wanted}
    return {name: value for name, value in typed.items() if value}
