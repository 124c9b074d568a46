"""`webhooks`: where webhooks come in to plugins, and where the tenant's events go out to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from jackfield_cli.arguments import Installed, Limit
from jackfield_cli.command import Session, examples, remote
from jackfield_cli.errors import CliError, UsageError
from jackfield_cli.installation import path_of
from jackfield_cli.views import Cell, done, facts, listing, moment, stack, styled

__all__ = ["app"]

app = typer.Typer(help="Webhooks: in to plugins, and out to addresses of yours.", no_args_is_help=True)

_PATH = "webhook-endpoints"
Id = Annotated[str, typer.Argument(metavar="ID", help="The endpoint, as `hook_…`.", show_default=False)]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event", metavar="NAME", help="`sale.created`, `sale.*` or `*`; may come more than once.", show_default=False
    ),
]
Overlap = Annotated[
    int, typer.Option("--overlap", metavar="SECONDS", min=0, help="How long the old one is good beside the new one.")
]


@app.command("list", epilog=examples("jackfield webhooks list"))
@remote
def list_command(session: Session) -> None:
    """Where events go out to."""
    found = session.client.get(_PATH)["items"]
    session.terminal.answer(
        found,
        lambda: listing(
            ("endpoint", "", "to", "events", "failing since"),
            [
                (e["id"], _standing(e), e["url"], ", ".join(e["events"]),
                 moment(e["failing_since"]) if e["failing_since"] else "")
                for e in found
            ],
            empty="No endpoints. `jackfield webhooks add URL --event 'sale.*'` makes one.",
        ),
    )  # fmt: skip


@app.command("add", epilog=examples("jackfield webhooks add https://example.com/hooks --event 'sale.*'"))
@remote
def add(
    session: Session,
    address: Annotated[str, typer.Argument(metavar="URL", help="An `https://` address.", show_default=False)],
    event: Events = None,
    description: Annotated[str, typer.Option("--description", help="What it is for.", show_default=False)] = "",
) -> None:
    """Have events sent to an address. The secret that they are signed with is shown now and never again."""
    body = {"url": address, "events": event or ["*"], "description": description}
    made = session.client.write("POST", _PATH, body=body)
    session.terminal.answer(made, lambda: stack(done(f"{made['id']} takes {', '.join(made['events'])}"), _secret(made)))


@app.command("change", epilog=examples("jackfield webhooks change hook_01j --off"))
@remote
def change(
    session: Session,
    endpoint: Id,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Another address.", show_default=False)] = None,
    event: Events = None,
    on: Annotated[
        bool | None, typer.Option("--on/--off", help="Switch it on or off.", show_default=False)
    ] = None,
) -> None:  # fmt: skip
    """Change where events go, which, or whether."""
    wanted = {"url": to, "events": event, "is_active": on}
    body = {name: value for name, value in wanted.items() if value is not None}
    if not body:
        raise UsageError("nothing to change", code="change-missing", hint="Give --to, --event, --on or --off.")
    made = session.client.write("PATCH", _PATH, endpoint, body=body)
    session.terminal.answer(
        made,
        lambda: facts([("to", made["url"]), ("events", made["events"]), ("", _standing(made))]),
    )


@app.command("remove", epilog=examples("jackfield webhooks remove hook_01j"))
@remote
def remove(session: Session, endpoint: Id) -> None:
    """Remove an endpoint with its log."""
    session.client.write("DELETE", _PATH, endpoint)
    session.terminal.answer({"removed": endpoint}, lambda: done(f"{endpoint} is removed"))


@app.command("rotate", epilog=examples("jackfield webhooks rotate hook_01j --overlap 3600"))
@remote
def rotate(session: Session, endpoint: Id, overlap: Overlap = 86_400) -> None:
    """A new secret, shown now and never again. For the overlap, events are signed with both."""
    made = session.client.write("POST", _PATH, endpoint, "rotate", body={"overlap_s": overlap})
    session.terminal.answer(made, lambda: _secret(made))


@app.command("test", epilog=examples("jackfield webhooks test hook_01j"))
@remote
def test(session: Session, endpoint: Id) -> None:
    """Send one now and show what was answered. Ends with 1 when it was not taken."""
    attempt = session.client.write("POST", _PATH, endpoint, "test")
    session.terminal.answer(
        attempt,
        lambda: facts(
            [
                ("answer", attempt["status"]), ("error", attempt["error_message"]),
                ("took", f"{attempt['duration_ms']:.0f} ms"), ("it says", attempt["answer"]),
            ]
        ),
    )  # fmt: skip
    if attempt["error_code"] is not None:
        raise CliError("it was not taken", code="webhook-test-failed")


@app.command("deliveries", epilog=examples("jackfield webhooks deliveries hook_01j --state dead"))
@remote
def deliveries(
    session: Session,
    endpoint: Id,
    state: Annotated[
        str | None, typer.Option(help="Only these: pending, running, done, dead or skipped.", show_default=False)
    ] = None,
    limit: Limit = 50,
) -> None:
    """What was sent to an endpoint and what was answered, the latest first."""
    found = session.client.pages(_PATH, endpoint, "deliveries", limit=limit, state=state)
    session.terminal.answer(
        found,
        lambda: listing(
            ("delivery", "event", "state", "attempts", "made", "last answer"),
            [
                (d["id"], d["event"], styled(d["state"]), f"{d['attempt']} of {d['max_attempts']}",
                 moment(d["created_at"]), _last(d))
                for d in found
            ],
            empty="Nothing was sent there.",
        ),
    )  # fmt: skip


@app.command(
    "replay",
    epilog=examples(
        "jackfield webhooks replay hook_01j dlv_01j", "jackfield webhooks replay hook_01j --since 2026-03-01T09:30"
    ),
)  # fmt: skip
@remote
def replay(
    session: Session,
    endpoint: Id,
    delivery: Annotated[str | None, typer.Argument(metavar="DELIVERY", help="One.", show_default=False)] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="All that failed since, as 2026-03-01T09:30.", show_default=False),
    ] = None,
) -> None:  # fmt: skip
    """Send once more: one delivery, or all that failed since a time."""
    if (delivery is None) == (since is None):
        raise UsageError("give a delivery or --since", code="replay-unclear")
    if delivery is not None:
        again = session.client.write("POST", _PATH, endpoint, "deliveries", delivery, "replay")
        session.terminal.answer(again, lambda: done(f"{delivery} is sent once more"))
    else:
        answer = session.client.write("POST", _PATH, endpoint, "replay", body={"since": _moment(since or "")})
        session.terminal.answer(answer, lambda: done(f"{answer['deliveries']} are sent once more"))


@app.command("addresses", epilog=examples("jackfield webhooks addresses stripe-payments"))
@remote
def addresses(session: Session, slug: Installed) -> None:
    """Where webhooks come in to a plugin. An address that nobody has seen is shown, and never again."""
    found = session.client.get("plugins", path_of(slug), "webhooks")["items"]
    session.terminal.answer(
        found,
        lambda: listing(
            ("webhook", "verified by", "secret", "last came", "last refused", "address"),
            [
                (w["name"], w["verify"], w["secret"], moment(w["received_at"]), _refused(w),
                 w["url"] or "shown before; `rotate-address` makes another")
                for w in found
            ],
            empty="It takes no webhooks.",
        ),
    )  # fmt: skip


@app.command("rotate-address", epilog=examples("jackfield webhooks rotate-address stripe-payments payment"))
@remote
def rotate_address(
    session: Session,
    slug: Installed,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin's webhook.", show_default=False)],
    overlap: Overlap = 86_400,
) -> None:
    """A new address for a plugin's webhook, shown now and never again."""
    body = {"overlap_s": overlap}
    made = session.client.write("POST", "plugins", path_of(slug), "webhooks", name, "rotate", body=body)
    session.terminal.answer(made, lambda: facts([("address", made["url"])]))


def _standing(endpoint: dict[str, Any]) -> Cell:
    if endpoint["is_active"]:
        return styled("failing" if endpoint["failing_since"] else "active")
    return f"off: {endpoint['disabled_because']}" if endpoint["disabled_because"] else "off"


def _secret(made: dict[str, Any]) -> RenderableType:
    return facts([("secret", made["secret"]), ("", "It is not shown again.")])


def _last(delivery: dict[str, Any]) -> str:
    if not delivery["attempts"]:
        return ""
    last = delivery["attempts"][-1]
    return str(last["status"]) if last["error_code"] is None else f"{last['error_code']}: {last['error_message']}"


def _refused(webhook: dict[str, Any]) -> str:
    return f"{moment(webhook['refused_at'])}: {webhook['refusal']}" if webhook["refusal"] else ""


def _moment(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError as error:
        raise UsageError(f"--since: {text} is no time", code="time-invalid", hint="As 2026-03-01T09:30.") from error
