"""`audit`: who changed what; whether the trail is whole; the trail as a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from jackfield_cli.audit_file import FileVerdict, verify_lines
from jackfield_cli.command import Session, examples, remote
from jackfield_cli.errors import CliError
from jackfield_cli.views import done, facts, listing, moment, stack

__all__ = ["app"]

app = typer.Typer(help="Who changed what, and whether the trail of it is whole. For owners, admins and operators.",
                  no_args_is_help=True)  # fmt: skip

_Actor = Annotated[str | None, typer.Option(help="Only what they did, as `member:mem_01jd`.", show_default=False)]
_Action = Annotated[
    str | None, typer.Option(help="Only this; `plugin.` stands for all about plugins.", show_default=False)
]
_Target = Annotated[str | None, typer.Option(help="Only entries about this.", show_default=False)]
_Plugin = Annotated[str | None, typer.Option(help="Only what concerns this plugin.", show_default=False)]
_Since = Annotated[str | None, typer.Option(metavar="TIME", help="From then on: 2026-03-01T09:30.", show_default=False)]
_Until = Annotated[str | None, typer.Option(metavar="TIME", help="Up to before then.", show_default=False)]
_Text = Annotated[str | None, typer.Option("--text", help="Only where this stands.", show_default=False)]


class Format(StrEnum):
    """Of an exported trail."""

    NDJSON = "ndjson"
    CSV = "csv"


@app.command("list", epilog=examples("jackfield audit list --target echo", "jackfield audit list --action plugin."))
@remote
def list_command(
    session: Session,
    actor: _Actor = None,
    action: _Action = None,
    target: _Target = None,
    plugin: _Plugin = None,
    since: _Since = None,
    until: _Until = None,
    text: _Text = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
) -> None:
    """Who changed what, the latest first."""
    found = session.client.pages(
        "audit", limit=limit, actor=actor, action=action, target=target, plugin=plugin, since=since, until=until, q=text
    )
    session.terminal.answer(
        found,
        lambda: listing(
            ("when", "who", "what", "about", "from"),
            [(moment(e["at"]), e["actor"], e["action"], e["target"], e["ip"] or "") for e in found],
            empty="No entries.",
        ),
    )


@app.command(
    "verify",
    epilog=examples("jackfield audit verify", "jackfield audit verify audit.ndjson", "jackfield audit verify --json"),
)
@remote
def verify(
    session: Session,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="An export; the server's trail, when left out.",
                                    show_default=False)
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="The platform's public key, for FILE. The server is asked when it is "
                     "left out.", show_default=False),
    ] = None,
    head: Annotated[
        list[str] | None,
        typer.Option("--head", metavar="HEAD", help="An end of the trail that was kept elsewhere; without FILE.",
                     show_default=False),
    ] = None,
) -> None:  # fmt: skip
    """Say whether something was changed, removed, put in or cut off, and where first. Ends with 1 when it was."""
    if file is not None:
        _verify_file(session, file, key)
        return
    found = session.client.get("audit", "verify", head=head)
    session.terminal.answer(found, lambda: _verdict_view(found))
    if not found["is_good"]:
        raise typer.Exit(1)


@app.command(
    "export", epilog=examples("jackfield audit export -o audit.ndjson", "jackfield audit export --format csv -o a.csv")
)
@remote
def export(
    session: Session,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Where to save it.", show_default=False)],
    form: Annotated[
        Format, typer.Option("--format", metavar="ndjson|csv", help="NDJSON can be verified; CSV is for spreadsheets.")
    ] = Format.NDJSON,
    actor: _Actor = None,
    action: _Action = None,
    target: _Target = None,
    plugin: _Plugin = None,
    since: _Since = None,
    until: _Until = None,
    text: _Text = None,
) -> None:
    """Save the trail, the oldest entry first. That it was saved is an entry as well."""
    wanted = {"actor": actor, "action": action, "target": target, "plugin": plugin, "since": since, "until": until}
    size = session.client.save(out, "audit", "export", format=form.value, q=text, **wanted)
    answer: dict[str, Any] = {"file": str(out), "bytes": size, "format": form.value}
    session.terminal.answer(answer, lambda: done(f"the audit trail is saved to {out}, {size} bytes"))


def _verify_file(session: Session, file: Path, keys: list[str] | None) -> None:
    trusted = keys or session.client.get("audit", "keys")["public_keys"]
    try:
        with file.open("rb") as lines:
            verdict = verify_lines(_lines(lines), trusted)
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}", code="file-unreadable") from error
    answer = {**asdict(verdict), "is_good": verdict.fault is None and verdict.is_trusted}
    session.terminal.answer(answer, lambda: _file_view(verdict))
    if not answer["is_good"]:
        raise typer.Exit(1)


def _lines(file: Any) -> Iterator[bytes]:
    # A line that never ends is not read whole.
    while line := file.readline(2 * 1024 * 1024):
        yield line


def _verdict_view(found: dict[str, Any]) -> RenderableType:
    fault = found["fault"]
    says = f"{fault['kind']} at entry {fault['seq']}: {fault['says']}" if fault else "it is whole"
    return stack(
        done(says) if fault is None else facts([("NOT WHOLE", says)]),
        facts(
            [
                ("entries", found["entries"]), ("dropped as old", found["removed"]),
                ("older than the chain", found["adopted"]), ("end known from elsewhere", found["anchor"] or "none"),
                ("keep this", found["head"]), ("public key", found["public_keys"][:1]),
            ]
        ),
    )  # fmt: skip


def _file_view(verdict: FileVerdict) -> RenderableType:
    whose = "the platform's" if verdict.is_trusted else "NOT one of the platform's"
    return stack(
        done("it is what the platform wrote") if verdict.fault is None and verdict.is_trusted
        else facts([("NOT WHOLE" if verdict.fault else "NOT TRUSTED", verdict.fault or f"its key is {whose}")]),
        facts(
            [
                ("tenant", verdict.tenant_id), ("entries", verdict.entries),
                ("from, to", f"{verdict.first}, {verdict.last}"),
                ("all of the trail", "yes" if verdict.is_whole else "no, those of a filter"),
                ("key", f"{verdict.public_key}, {whose}" if verdict.public_key else "not signed"),
            ]
        ),
    )  # fmt: skip
