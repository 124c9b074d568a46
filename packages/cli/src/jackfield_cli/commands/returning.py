"""Back to a release that was there before: `rollback`, `history`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jackfield_cli.arguments import Installed
from jackfield_cli.command import Session, remote
from jackfield_cli.errors import CliError
from jackfield_cli.installation import path_of, state_line
from jackfield_cli.views import done, facts, heading, listing, moment, stack

__all__ = ["history", "rollback"]


class DataWay(StrEnum):
    """What becomes of the data."""

    AUTO = "auto"
    TRANSFORM = "transform"
    RESTORE = "restore"


@remote
def rollback(
    session: Session,
    slug: Installed,
    to: Annotated[
        str | None, typer.Option("--to", metavar="V", help="The release before, when left out.", show_default=False)
    ] = None,
    data: Annotated[
        DataWay,
        typer.Option(
            metavar="auto|transform|restore",
            help="Undo the migrations and keep what was written since, or restore the data as it was.",
        ),
    ] = DataWay.AUTO,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Save what was written since here.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Go back to a release that a plugin had, with its configuration, secrets, grants and data. Asks you."""
    name, _, instance = path_of(slug).partition("@")
    wanted = {"slug": name, "version": to, "instance": instance or "default", "action": "rollback", "data": data.value}
    planned = session.client.write("POST", "plugins", "plan", body=wanted)
    if planned["is_possible"] and not yes:
        _ask(session, slug, planned)
    body = {"to": to or (planned["version"] if planned["is_possible"] else None), "data": data.value}
    went = session.client.write("POST", "plugins", path_of(slug), "rollback", body=body)
    export_id = went["export_id"]
    if out is not None and export_id is not None:
        _save(session, export_id, out)
    session.terminal.answer(
        went,
        lambda: stack(
            done(f"{slug} is back: {went['from_version']} → {went['version']}; its data was {went['data']}"),
            facts(
                [
                    ("because", "; ".join(went["problems"]) or None),
                    ("what there was", str(out) if out and export_id else export_id),
                ]
            ),
            state_line(went["plugin"]),
        ),
    )


@remote
def history(session: Session, slug: Installed) -> None:
    """The releases that a plugin had, and which of them can be gone back to."""
    found = session.client.get("plugins", path_of(slug), "history")
    session.terminal.answer(
        found,
        lambda: listing(
            ("release", "until", "then", "by", "way back", "data"),
            [
                (
                    r["version"], moment(r["ended_at"]), f"{r['ended_by']} to {r['next_version']}", r["actor"] or "",
                    "yes" if r["can_return"] else "", r["note"],
                )
                for r in found["releases"]
            ],
            empty=f"{found['version']} is the only one it had.",
        ),
    )  # fmt: skip


def _ask(session: Session, slug: str, planned: dict[str, Any]) -> None:
    if not session.terminal.is_interactive:
        raise CliError(
            "this changes a plugin's data, and nobody is there to be asked", code="confirmation-missing",
            hint="Say --yes.",
        )  # fmt: skip
    session.terminal.show(
        stack(
            heading(f"{planned['name']}: {planned['installed_version']} → {planned['version']}"),
            facts([("data", planned["data"]["text"])]),
        )
    )
    if not session.terminal.confirm(f"Go back with {slug}?"):
        raise CliError("nothing was changed", code="declined")


def _save(session: Session, export_id: str, out: Path) -> None:
    try:
        with session.client.download("plugins", "exports", export_id) as chunks, out.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        raise CliError(
            f"{out} cannot be written: {error.strerror}",
            code="file-unwritable",
            hint=f"It is back all the same. What there was is still at GET /api/plugins/exports/{export_id}.",
        ) from error
