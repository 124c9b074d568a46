"""On to a tenant and off it: `plan`, `install`, `uninstall`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from jackfield_cli import consent
from jackfield_cli.arguments import Installed, Slug, json_object
from jackfield_cli.command import Session, remote
from jackfield_cli.contents import contributions
from jackfield_cli.errors import CliError, UsageError
from jackfield_cli.installation import path_of, state_line
from jackfield_cli.problems import problem_in
from jackfield_cli.views import done, facts, heading, listing, stack

__all__ = ["install", "plan", "uninstall"]

Version = Annotated[
    str | None, typer.Option("--version", metavar="V", help="The newest that fits, when left out.", show_default=False)
]
Instance = Annotated[str, typer.Option("--instance", metavar="NAME", help="Tells several installations apart.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class DataChoice(StrEnum):
    """What becomes of a plugin's data."""

    DELETE = "delete"
    KEEP = "keep"
    EXPORT = "export"


@remote
def plan(session: Session, slug: Slug, version: Version = None, instance: Instance = "default") -> None:
    """What installing a plugin would do: permissions, contributions, plugins that come along, conflicts."""
    planned = _planned(session, slug, version, instance)
    session.terminal.answer(planned, lambda: _plan_view(planned))


@remote
def install(
    session: Session,
    slug: Slug,
    version: Version = None,
    grant: Annotated[
        list[str] | None, typer.Option("--grant", metavar="P", help="Grant this permission; may be repeated.")
    ] = None,
    grant_all: Annotated[
        bool, typer.Option("--grant-all", help="Grant all that it asks for, optional ones too.")
    ] = False,
    config: Annotated[
        str | None, typer.Option("--config", metavar="JSON|@FILE", help="Its configuration.", show_default=False)
    ] = None,
    instance: Instance = "default",
    yes: Yes = False,
) -> None:
    """Install a plugin and put it to work. Shows what it asks for, and asks you."""
    settings = None if config is None else json_object(config, "--config")
    planned = _planned(session, slug, version, instance)
    if grant_all and _is_there(planned):
        _grant_again(session, planned, slug, version, instance, is_configured=settings is not None)
        return
    given = _consent(session, planned, tuple(grant or ()), grant_all=grant_all, yes=yes)
    body = {
        "slug": slug, "version": version or planned["version"], "instance": instance,
        "grants": list(given.own), "grants_for": given.others, "config": settings,
    }  # fmt: skip
    response = session.client.attempt("POST", "plugins", "install", body=body)
    if not response.is_success:
        problem = problem_in(response)
        if grant_all and problem.code == "already-installed":  # somebody was faster
            _grant_again(session, planned, slug, version, instance, is_configured=settings is not None)
            return
        raise problem
    installed = response.json()
    session.terminal.answer(installed, lambda: stack(done(_said(installed, "is installed")), state_line(installed)))


@remote
def uninstall(
    session: Session,
    slug: Installed,
    data: Annotated[
        DataChoice, typer.Option(metavar="delete|keep|export", help="What becomes of its data.")
    ] = DataChoice.DELETE,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="With `--data export`: save the export here.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Remove a plugin. Shows what it owns, and asks you."""
    if out is not None and data is not DataChoice.EXPORT:
        raise UsageError("--out is for --data export", code="option-misplaced")
    if not yes:
        _ask_to_remove(session, slug, data)
    removed = session.client.write("DELETE", "plugins", path_of(slug), data=data.value)
    if out is not None:
        _save(session, str(removed["export_id"]), out)
    session.terminal.answer(
        removed,
        lambda: stack(
            done(f"{removed['slug']} {removed['version']} is removed; its data: {_fate(data, out)}"),
            facts([("owned", _counts(removed["owned"])), ("export", removed["export_id"] if out is None else None)]),
        ),
    )


def _planned(session: Session, slug: str, version: str | None, instance: str) -> dict[str, Any]:
    body = {"slug": slug, "version": version, "instance": instance}
    return session.client.write("POST", "plugins", "plan", body=body)


def _is_there(planned: dict[str, Any]) -> bool:
    return any(conflict["code"] == "already-installed" for conflict in planned["conflicts"])


def _consent(
    session: Session, planned: dict[str, Any], named: tuple[str, ...], *, grant_all: bool, yes: bool
) -> consent.Given:
    """What is granted. A plan with conflicts is not worth a question: the server says what is in the way."""
    if grant_all:
        return consent.everything(planned)
    if not planned["is_possible"]:
        return consent.Given(named, {})
    if yes or not session.terminal.is_interactive:
        consent.refuse_silence(planned, named)
        return consent.Given(named, {})
    given = consent.ask(planned, named, session.terminal)
    if given is None:
        raise CliError("nothing was installed", code="declined")
    return given


def _grant_again(
    session: Session, planned: dict[str, Any], slug: str, version: str | None, instance: str, *, is_configured: bool
) -> None:
    """It is installed already: give it all that its release asks for."""
    name = path_of(slug if instance == "default" else f"{slug}@{instance}")
    there = session.client.get("plugins", name)
    if version is not None and there["version"] != version:
        raise CliError(
            f"{slug} is installed already, in version {there['version']}",
            code="already-installed",
            hint=f"`jackfield uninstall {slug} --data keep` first: the new one takes its data up.",
        )
    wanted = sorted({*there["grants"], *(p["permission"] for p in there["permissions"])})
    granted = session.client.write("PUT", "plugins", name, "grants", body={"grants": wanted})
    if is_configured:
        session.terminal.warn(f"it keeps its configuration; `jackfield configure {slug}` changes that")
    session.terminal.answer(
        granted,
        lambda: stack(
            done(_said(granted, "was installed already; all that it asks for is granted")), state_line(granted)
        ),
    )


def _ask_to_remove(session: Session, slug: str, data: DataChoice) -> None:
    if not session.terminal.is_interactive:
        raise UsageError(
            f"{slug} would be removed, and there is nobody to ask", code="confirmation-missing", hint="Say --yes."
        )
    there = session.client.get("plugins", path_of(slug))
    body = {"slug": there["slug"], "instance": there["instance"], "action": "uninstall"}
    planned = session.client.write("POST", "plugins", "plan", body=body)
    session.terminal.show(facts([("it owns", _counts(planned["owned"]))]))
    if not session.terminal.confirm(f"Remove {slug}, and {data.value} its data?"):
        raise CliError("nothing was removed", code="declined")


def _save(session: Session, export_id: str, out: Path) -> None:
    try:
        with session.client.download("plugins", "exports", export_id) as chunks, out.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
    except OSError as error:
        raise CliError(
            f"{out} cannot be written: {error.strerror}",
            code="file-unwritable",
            hint=f"The plugin is removed. The export is still at GET /api/plugins/exports/{export_id}.",
        ) from error


def _fate(data: DataChoice, out: Path | None) -> str:
    if data is DataChoice.EXPORT:
        return f"saved to {out}" if out else "exported"
    return {"delete": "deleted", "keep": "kept for the next installation"}[data.value]


def _counts(owned: dict[str, int]) -> str:
    return ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in owned.items() if count) or "nothing"


def _said(installed: dict[str, Any], what: str) -> str:
    return f"{installed['slug']} {installed['version']} {what}"


def _plan_view(planned: dict[str, Any]) -> RenderableType:
    conflicts = [(one["code"], one["message"], one["hint"]) for one in planned["conflicts"]]
    return stack(
        heading(f"{planned['name']} {planned['version']} from {planned['publisher_id']}"),
        facts([("", planned["summary"]), ("sha-256", planned["digest"])]),
        heading("It asks for"),
        consent.permissions_view(planned["permissions"]),
        heading("It contributes"),
        contributions(planned["contributes"]),
        *(
            part
            for other in planned["dependencies"]
            for part in (
                heading(f"With it comes {other['name']} {other['version']}: {other['because']}"),
                consent.permissions_view(other["permissions"]),
            )
        ),
        heading("Before it can work") if planned["missing_config"] else None,
        facts([("configure", planned["missing_config"])]) if planned["missing_config"] else None,
        heading("In the way") if conflicts else None,
        listing(("", "", ""), conflicts, empty="") if conflicts else None,
    )
