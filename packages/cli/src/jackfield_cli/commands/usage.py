"""`usage`: what the tenant has used of what its plan allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from jackfield_cli.command import Session, remote
from jackfield_cli.printable import one_line
from jackfield_cli.views import Cell, facts, heading, listing, moment, size, stack

__all__ = ["usage"]

_COLUMNS = ("quota", "used", "limit", "left", "full again")


@remote
def usage(session: Session) -> None:
    """What your plan allows, how much of it is used, and when it refills; of the tenant and of each plugin."""
    found = session.client.get("usage")
    session.terminal.answer(found, lambda: _view(found))


def _view(found: dict[str, Any]) -> RenderableType:
    warnings = [Text.assemble(("! ", "yellow bold"), one_line(text)) for text in found["warnings"]]
    busy = [plugin for plugin in found["plugins"] if any(quota["used"] for quota in plugin["quotas"])]
    return stack(
        facts([("tenant", found["tenant_id"]), ("plan", found["plan"])]),
        *warnings,
        heading("All plugins together"),
        _quotas(found["quotas"]),
        *(part for plugin in busy for part in (heading(plugin["plugin"]), _quotas(plugin["quotas"], only_used=True))),
    )


def _quotas(quotas: list[dict[str, Any]], *, only_used: bool = False) -> RenderableType:
    rows = [_row(quota) for quota in quotas if quota["used"] or not only_used]
    return listing(_COLUMNS, rows, empty="Nothing is used.")


def _row(quota: dict[str, Any]) -> tuple[Cell, ...]:
    shown = _amount(quota["quota"])
    style = "yellow" if quota["is_warning"] else ""
    limit, left = quota["limit"], quota["left"]
    return (
        Text(one_line(quota["quota"].replace("_", " ")), style=style),
        Text(shown(quota["used"]), style=style),
        "no limit" if limit is None else shown(limit),
        "" if left is None else Text(shown(left), style=style),
        "" if quota["refills_at"] is None else moment(quota["refills_at"]),
    )


def _amount(quota: str) -> Callable[[int], str]:
    if "bytes" in quota:
        return size
    return (lambda ms: f"{ms / 1000:.1f} s") if quota.startswith("cpu_ms") else str
