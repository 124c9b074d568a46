"""On to a newer release: `update`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jackfield_cli import consent
from jackfield_cli.arguments import Installed, json_object
from jackfield_cli.command import Session, remote
from jackfield_cli.errors import CliError
from jackfield_cli.installation import path_of, state_line
from jackfield_cli.views import done, heading, stack

__all__ = ["update"]


@remote
def update(
    session: Session,
    slug: Installed,
    version: Annotated[
        str | None, typer.Option("--version", metavar="V", help="The newest, when left out.", show_default=False)
    ] = None,
    grant: Annotated[
        list[str] | None, typer.Option("--grant", metavar="P", help="Grant this as well; may be repeated.")
    ] = None,
    grant_all: Annotated[
        bool, typer.Option("--grant-all", help="Grant all that it asks for, optional ones too.")
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", metavar="JSON|@FILE", help="Its configuration; it stays when left out.", show_default=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Let an update that waits for consent wait no longer.")
    ] = False,
) -> None:
    """Replace a plugin's release by a newer one while it works. Asks you when that one wants more.

    When there is nobody to ask, the update waits, and goes on once everything is granted.
    """
    if forget:
        freed = session.client.write("DELETE", "plugins", path_of(slug), "update")
        session.terminal.answer(freed, lambda: stack(done("no update waits any more"), state_line(freed)))
        return
    settings = None if config is None else json_object(config, "--config")
    name, _, instance = path_of(slug).partition("@")
    body = {"slug": name, "version": version, "instance": instance or "default", "action": "update"}
    planned = session.client.write("POST", "plugins", "plan", body=body)
    given = _consent(session, planned, tuple(grant or ()), grant_all=grant_all, yes=yes)
    wanted = {"version": version or planned["version"], "grants": given, "config": settings}
    updated = session.client.write("POST", "plugins", path_of(slug), "update", body=wanted)
    if updated["pending_update"] is not None:
        raise consent.waits(slug, updated)
    before = planned["installed_version"]
    session.terminal.answer(
        updated,
        lambda: stack(done(f"{slug} is updated: {before} → {updated['version']}"), state_line(updated)),
    )


def _consent(
    session: Session, planned: dict[str, Any], named: tuple[str, ...], *, grant_all: bool, yes: bool
) -> list[str]:
    """What is granted in addition. A plan with conflicts is not worth a question: the server says why."""
    if grant_all:
        return [p["permission"] for p in planned["permissions"] if p["kind"] in ("required", "optional")]
    lacking = [p for p in planned["missing_grants"] if p not in named]
    if not planned["is_possible"] or not lacking:
        return list(named)
    if yes or not session.terminal.is_interactive:
        # The server has the update wait, and says for what.
        return list(named)
    session.terminal.show(
        stack(heading(f"{planned['name']} {planned['version']}"), consent.permissions_view(planned["permissions"]))
    )
    if not session.terminal.confirm(f"Grant what is new ({', '.join(lacking)}), and update it?"):
        raise CliError("nothing was updated", code="declined")
    return [*named, *lacking]
