"""What happened: `logs`, `errors`, `stats`, `health`, `inventory`, `me`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from jackfield_cli.arguments import Installed, Limit
from jackfield_cli.command import Session, remote
from jackfield_cli.installation import path_of
from jackfield_cli.printable import as_json
from jackfield_cli.views import facts, failure_view, heading, listing, log_line, moment, stack, styled

__all__ = ["errors", "health", "inventory", "logs", "me", "stats"]

_POLL_S = 1.0


@remote
def logs(
    session: Session,
    slug: Installed,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    limit: Limit = 100,
    level: Annotated[str | None, typer.Option(help="This level and those above it.", show_default=False)] = None,
) -> None:
    """What a plugin logged, the latest last. With `--follow --json`, one line each."""
    name = path_of(slug)
    lines = _latest(session, name, limit, level)
    if not follow:
        session.terminal.answer(lines, lambda: _log_view(lines))
        return
    newest = 0
    while True:
        for line in lines:
            newest = max(newest, line["id"])
            if session.terminal.is_json:
                session.terminal.json(line, indent=None)
            else:
                session.terminal.line(log_line(line))
        time.sleep(_POLL_S)
        lines = _since(session, name, newest, level)


@remote
def errors(session: Session, slug: Installed) -> None:
    """A plugin's latest failures, with traces, the latest last."""
    found = list(reversed(session.client.get("plugins", path_of(slug), "errors")["items"]))
    session.terminal.answer(
        found, lambda: stack(*map(failure_view, found)) if found else Text("No failures.", style="dim")
    )


@remote
def stats(session: Session, slug: Installed) -> None:
    """What a plugin did and cost since it was installed: in total, and by handler, the dearest first."""
    found = session.client.get("plugins", path_of(slug), "stats")
    session.terminal.answer(found, lambda: stack(_totals(found), _handlers(found["handlers"])))


@remote
def health(
    session: Session,
    slug: Annotated[
        str | None, typer.Argument(metavar="[SLUG]", help="The platform, when left out.", show_default=False)
    ] = None,
) -> None:
    """Ask a plugin, or the platform, whether it is well. Ends with 1 when it is not."""
    found = session.client.get("health") if slug is None else session.client.get("plugins", path_of(slug), "health")
    session.terminal.answer(found, lambda: _health_view(found))
    if found.get("status") not in ("ok", "unchecked"):
        raise typer.Exit(1)


@remote
def inventory(session: Session, slug: Installed) -> None:
    """What a plugin owns, by kind."""
    found = session.client.get("plugins", path_of(slug), "inventory")
    session.terminal.answer(
        found, lambda: facts([(kind.replace("_", " "), count) for kind, count in found["owned"].items()])
    )


@remote
def me(session: Session) -> None:
    """Who your token stands for."""
    found = session.client.get("me")
    tenant: dict[str, Any] = found["tenant"] or {}
    member: dict[str, Any] = found["member"] or {}
    session.terminal.answer(
        found,
        lambda: facts(
            [
                ("role", found["role"]), ("tenant", tenant.get("id")), ("plan", tenant.get("plan")),
                ("member", member.get("name")), ("publisher", found["publisher_id"]),
                ("server", session.client.url),
            ]
        ),
    )  # fmt: skip


def _totals(found: dict[str, Any]) -> RenderableType:
    last = found["last_error_code"] and f"{found['last_error_code']}: {found['last_error_message']}"
    used = ", ".join(f"{name} {count}" for name, count in found["capabilities"].items())
    peak = f"{found['memory_peak_kb'] / 1024:.1f} MB" if found["memory_peak_kb"] else None
    return facts(
        [
            ("calls", found["calls"]), ("failures", found["failures"]),
            ("average", f"{found['average_ms']:.1f} ms"),
            ("half, 95 %, 99 % within", f"{found['p50_ms']:.1f}, {found['p95_ms']:.1f}, {found['p99_ms']:.1f} ms"),
            ("longest", f"{found['maximum_ms']:.1f} ms"), ("processor", f"{found['cpu_ms']:.0f} ms"),
            ("most memory", peak), ("capability calls", f"{found['host_calls']} ({used})" if used else None),
            ("queries", found["queries"]), ("egress", _bytes(found["egress_bytes"])),
            ("leaked secrets", found["secret_leaks"] or None), ("last run", moment(found["last_run_at"])),
            ("last failure", moment(found["last_error_at"])), ("", last),
        ]
    )  # fmt: skip


def _handlers(handlers: list[dict[str, Any]]) -> RenderableType | None:
    if not handlers:
        return None
    return listing(
        ("kind", "name", "handler", "calls", "failures", "half", "95 %", "longest", "processor", "queries", "egress"),
        [
            (h["kind"], h["name"], h["handler"], h["calls"], h["failures"], f"{h['p50_ms']:.1f} ms",
             f"{h['p95_ms']:.1f} ms", f"{h['maximum_ms']:.1f} ms", f"{h['cpu_ms']:.0f} ms", h["queries"],
             _bytes(h["egress_bytes"]))
            for h in handlers
        ],
        empty="No calls.",
    )  # fmt: skip


def _bytes(count: int) -> str:
    return (
        f"{count} B" if count < 1024 else f"{count / 1024:.1f} KB" if count < 1024**2 else f"{count / 1024**2:.1f} MB"
    )


def _latest(session: Session, name: str, limit: int, level: str | None) -> list[dict[str, Any]]:
    """Oldest first: the latest line is where the eye is."""
    return list(reversed(session.client.pages("plugins", name, "logs", limit=limit, level=level)))


def _since(session: Session, name: str, newest: int, level: str | None) -> list[dict[str, Any]]:
    """What came after a line; a burst is read back until that line is seen."""
    wanted = 100
    while True:
        lines = _latest(session, name, wanted, level)
        if len(lines) < wanted or lines[0]["id"] <= newest or wanted >= 10_000:
            return [line for line in lines if line["id"] > newest]
        wanted *= 10


def _log_view(lines: list[dict[str, Any]]) -> RenderableType:
    return Text("\n").join(map(log_line, lines)) if lines else Text("Nothing was logged.", style="dim")


def _health_view(found: dict[str, Any]) -> RenderableType:
    lists = ("breakers", "recent_crashes")
    rest = {name: value for name, value in found.items() if name != "status" and name not in lists}
    return stack(
        facts(
            [
                ("status", styled(str(found.get("status", "?")))),
                *((name.replace("_", " "), _plain(value)) for name, value in rest.items()),
            ]
        ),
        *_troubles(found),
    )


def _troubles(found: dict[str, Any]) -> Iterator[RenderableType]:
    """Handlers that are left alone, and calls that took their process with them."""
    if breakers := found.get("breakers"):
        yield heading("Left alone")
        yield listing(
            ("handler", "", "since", "again in", "the last failure"),
            [
                (b["handler"], styled(b["state"]), moment(b["opened_at"]), f"{b['retry_after_s']:g} s",
                 f"{b['code']}: {b['message']}")
                for b in breakers
            ],
            empty="",
        )  # fmt: skip
    if crashes := found.get("recent_crashes"):
        yield heading("Crashes")
        yield listing(
            ("when", "how", "where", "what"),
            [
                (moment(c["at"]), styled(c["status"]), f"{c['kind']} {c['name']}", f"{c['code']}: {c['message']}")
                for c in crashes
            ],
            empty="",
        )


def _plain(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return as_json(value, indent=None)
