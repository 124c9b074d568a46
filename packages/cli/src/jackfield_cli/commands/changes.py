"""What plugins did to the host's data, and taking it back: `changes`, `revert`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, cast

import typer
from rich.console import RenderableType

from jackfield_cli.arguments import Limit
from jackfield_cli.command import Session, remote
from jackfield_cli.errors import UsageError
from jackfield_cli.printable import as_json
from jackfield_cli.views import done, heading, listing, moment, stack

__all__ = ["changes", "revert"]

_VALUE_CHARS = 60

Plugin = Annotated[str | None, typer.Option("--plugin", metavar="SLUG", help="Of this plugin.", show_default=False)]
User = Annotated[str | None, typer.Option("--user", help="On behalf of this member.", show_default=False)]
Call = Annotated[str | None, typer.Option("--call", metavar="ID", help="Of this invocation.", show_default=False)]
Entity = Annotated[str | None, typer.Option("--entity", help="Of this entity, as `customers`.", show_default=False)]
Key = Annotated[str | None, typer.Option("--key", help="Of the entity with this key.", show_default=False)]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="From this moment on, as 2026-03-01T09:30.", show_default=False),
]


@remote
def changes(
    session: Session,
    plugin: Plugin = None,
    user: User = None,
    call: Call = None,
    entity: Entity = None,
    key: Key = None,
    since: Since = None,
    limit: Limit = 50,
) -> None:
    """What plugins created, changed and deleted in the host's data, the latest first. For owners and admins."""
    found = session.client.pages(
        "data", "changes", limit=limit, slug=plugin, user_id=user, invocation_id=call, entity=entity, key=key,
        since=_moment(since),
    )  # fmt: skip
    session.terminal.answer(found, lambda: _view(found))


@remote
def revert(
    session: Session,
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[N…]", help="Changes, as `jackfield changes` numbers them.")
    ] = None,
    plugin: Plugin = None,
    user: User = None,
    call: Call = None,
    entity: Entity = None,
    since: Since = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take changes back: those named, or all of a plugin, a call or a member. What was changed since stays as it is.

    Ends with 1 when something stays.
    """
    wanted = {"slug": plugin, "invocation_id": call, "user_id": user, "entity": entity, "since": _moment(since)}
    given = {name: value for name, value in wanted.items() if value is not None}
    if bool(numbers) == bool(given):
        raise UsageError(
            "say which changes: by number, or by --plugin, --call or --user", code="changes-unnamed",
            hint="`jackfield changes` lists them.",
        )  # fmt: skip
    if numbers:
        made = [session.client.write("POST", "data", "changes", str(number), "revert") for number in numbers]
        session.terminal.answer(made, lambda: done(f"took back {', '.join(map(str, numbers))}"))
        return
    if not yes:
        _confirm(session)
    answer = _all(session, given)
    session.terminal.answer(answer, lambda: _reverted(answer))
    if answer["refused"]:
        raise typer.Exit(1)


def _all(session: Session, given: dict[str, Any]) -> dict[str, Any]:
    reverted: list[Any] = []
    refused: list[Any] = []
    before: int | None = None
    while True:
        body = given if before is None else {**given, "before": before}
        part = session.client.write("POST", "data", "changes", "revert", body=body)
        reverted += part["reverted"]
        refused += part["refused"]
        before = part["next_before"]
        if before is None:
            return {"reverted": reverted, "refused": refused}


def _confirm(session: Session) -> None:
    if not session.terminal.is_interactive:
        raise UsageError(
            "changes would be taken back, and there is nobody to ask", code="confirmation-missing", hint="Say --yes."
        )
    if not session.terminal.confirm("Take all of these changes back?"):
        raise typer.Exit(1)


def _moment(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        # Without an offset it is meant as the clock on the wall says.
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--since: {text} is no time", code="time-invalid", hint="As 2026-03-01T09:30.") from error


def _view(found: list[dict[str, Any]]) -> RenderableType:
    return listing(
        ("change", "when", "plugin", "for", "what", "entity", "how"),
        [
            (c["id"], moment(c["at"]), c["slug"], c["user_id"], _what(c), f"{c['entity']} {c['key']}", _how(c))
            for c in found
        ],
        empty="No changes.",
    )


def _what(change: dict[str, Any]) -> str:
    if change["reverts"] is not None:
        return f"took back {change['reverts']}"
    return f"{change['operation']}, taken back" if change["reverted_by"] is not None else change["operation"]


def _how(change: dict[str, Any]) -> str:
    before = cast("dict[str, Any]", change["before"] or {})
    after = cast("dict[str, Any]", change["after"] or {})
    if change["operation"] == "update":
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return ", ".join(f"{name}: {_value(before.get(name))} → {_value(after.get(name))}" for name in names)
    return ", ".join(f"{name}: {_value(value)}" for name, value in (after or before).items() if value is not None)


def _value(value: Any) -> str:
    text = as_json(value, indent=None)
    return text if len(text) <= _VALUE_CHARS else f"{text[:_VALUE_CHARS]}…"


def _reverted(answer: dict[str, Any]) -> RenderableType:
    refused = answer["refused"]
    return stack(
        done(f"took back {len(answer['reverted'])} changes"),
        heading("Left as they are") if refused else None,
        listing(
            ("change", "entity", "why"),
            [(r["id"], f"{r['entity']} {r['key']}", f"{r['code']}: {r['message']}") for r in refused],
            empty="",
        )
        if refused
        else None,
    )
