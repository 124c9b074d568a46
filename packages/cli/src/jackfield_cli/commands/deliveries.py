"""`deliveries`: what became of events, schedules and webhooks at plugins: look, and deliver once more."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from jackfield_cli.arguments import Limit
from jackfield_cli.command import Session, examples, remote
from jackfield_cli.errors import UsageError
from jackfield_cli.views import done, facts, listing, moment, styled

__all__ = ["app"]

app = typer.Typer(help="What became of events at plugins; deliver once more.", no_args_is_help=True)

Plugin = Annotated[
    str | None, typer.Option("--plugin", metavar="SLUG", help="Only those to this plugin.", show_default=False)
]
Event = Annotated[
    str | None, typer.Option("--event", metavar="NAME", help="Only those of this event.", show_default=False)
]
Handler = Annotated[
    str | None, typer.Option("--handler", metavar="NAME", help="Only those to this handler.", show_default=False)
]
Code = Annotated[
    str | None, typer.Option("--code", metavar="CODE", help="Only those with this error.", show_default=False)
]


@app.command(
    "list",
    epilog=examples(
        "jackfield deliveries list echo --state dead",
        "jackfield deliveries list --event sale.created",
        "jackfield deliveries list --all-tenants --state dead",
    ),
)
@remote
def list_command(
    session: Session,
    slug: Annotated[
        str | None, typer.Argument(metavar="[SLUG]", help="Those to this plugin; to all, when left out.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="Only these: pending, running, done, dead or skipped.", show_default=False)
    ] = None,
    event: Event = None,
    handler: Handler = None,
    code: Code = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Made then or later.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Made then or before.", show_default=False)
    ] = None,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="Of all tenants, without what plugins said. For operators.")
    ] = False,
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="For operators: only this tenant's.", show_default=False)
    ] = None,
    limit: Limit = 50,
) -> None:  # fmt: skip
    """Events on their way to plugins and what became of them, the latest first."""
    times = {name: _moment(text) for name, text in (("since", since), ("until", until)) if text is not None}
    if all_tenants or tenant is not None:
        wanted = {"plugin": slug, "state": state, "event": event, "handler": handler, "code": code, "tenant": tenant}
        _list_all(session, limit, **wanted, **times)
        return
    found = session.client.pages(
        "deliveries", limit=limit, plugin=slug, state=state, event=event, handler=handler, code=code, **times
    )
    session.terminal.answer(
        found,
        lambda: listing(
            ("delivery", "event", "handler", "state", "attempts", "made", "error"),
            [
                (d["id"], d["event"], d["handler"], styled(d["state"]), f"{d['attempt']} of {d['max_attempts']}",
                 moment(d["created_at"]), _error(d))
                for d in found
            ],
            empty="No deliveries.",
        ),
    )  # fmt: skip


def _list_all(session: Session, limit: int, **wanted: str | None) -> None:
    found = session.client.pages("operators", "deliveries", limit=limit, **wanted)
    session.terminal.answer(
        found,
        lambda: listing(
            ("tenant", "delivery", "plugin", "event", "handler", "state", "attempts", "made", "error"),
            [
                (d["tenant_id"], d["id"], _plugin(d), d["event"], d["handler"], styled(d["state"]),
                 f"{d['attempt']} of {d['max_attempts']}", moment(d["created_at"]), d["error_code"] or "")
                for d in found
            ],
            empty="No deliveries.",
        ),
    )  # fmt: skip


@app.command("show", epilog=examples("jackfield deliveries show dlv_01j"))
@remote
def show(
    session: Session, delivery: Annotated[str, typer.Argument(metavar="DELIVERY", show_default=False)]
) -> None:  # fmt: skip
    """One delivery, and what can be done about it."""
    found = session.client.get("deliveries", delivery)
    session.terminal.answer(
        found,
        lambda: facts(
            [
                ("delivery", found["id"]), ("event", found["event"]), ("handler", found["handler"]),
                ("state", styled(found["state"])), ("attempts", f"{found['attempt']} of {found['max_attempts']}"),
                ("made", moment(found["created_at"])), ("ended", moment(found["finished_at"])),
                ("next attempt", moment(found["next_attempt_at"])), ("error", _error(found)),
                ("what to do", found["error_hint"] or ""),
            ]
        ),
    )  # fmt: skip


@app.command(
    "replay",
    epilog=examples(
        "jackfield deliveries replay dlv_01j",
        "jackfield deliveries replay --plugin loyalty-points --state dead --dry-run",
    ),
)
@remote
def replay(
    session: Session,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[DELIVERY]...", help="These.", show_default=False)
    ] = None,
    plugin: Plugin = None,
    state: Annotated[str, typer.Option(help="Only those that are dead, skipped or done.")] = "dead",
    event: Event = None,
    handler: Handler = None,
    code: Code = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Ended then or later.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Ended then or before.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
) -> None:  # fmt: skip
    """Deliver once more, each with its id, in order: some, or all that have something in common."""
    body: dict[str, Any] = {"dry_run": dry_run}
    if ids:
        body["ids"] = ids
    else:
        wanted = {"plugin": plugin, "state": state, "event": event, "handler": handler, "code": code}
        body.update({name: value for name, value in wanted.items() if value is not None})
        body.update({name: _moment(text) for name, text in (("since", since), ("until", until)) if text is not None})
    answer = session.client.write("POST", "deliveries", "replay", body=body)
    replayed = answer["replayed"]
    while answer["remaining"] and not dry_run and answer["replayed"]:
        # In parts, each bounded: what had ended when this began is meant, and not what ends meanwhile.
        answer = session.client.write("POST", "deliveries", "replay", body={**body, "until": answer["until"]})
        replayed += answer["replayed"]
    answer["replayed"] = replayed
    if dry_run:
        session.terminal.answer(answer, lambda: done(f"{answer['matched']} would be delivered once more"))
    else:
        session.terminal.answer(answer, lambda: done(f"{replayed} are delivered once more"))


def _plugin(delivery: Any) -> str:
    slug, instance = delivery["slug"], delivery["instance"]
    return "a webhook" if slug is None else slug if instance == "default" else f"{slug}@{instance}"


def _error(delivery: Any) -> str:
    return f"{delivery['error_code']}: {delivery['error_message']}" if delivery["error_code"] else ""


def _moment(text: str) -> str:
    """The API's form of a time; one without an offset is this machine's.

    Raises:
        UsageError: It is none.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no time", code="time-invalid", hint="As 2026-03-01T09:30.") from error
    return (found if found.tzinfo else found.astimezone()).isoformat()
