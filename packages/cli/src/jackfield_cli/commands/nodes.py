"""`nodes`: which processes serve, for operators."""

from __future__ import annotations

from typing import Any

from jackfield_cli.command import Session, remote
from jackfield_cli.views import listing, moment, styled

__all__ = ["nodes"]


@remote
def nodes(session: Session) -> None:
    """The nodes that work on the database, and those that ended within the last day. For operators."""
    found: list[dict[str, Any]] = session.client.get("nodes")
    session.terminal.answer(
        found,
        lambda: listing(
            ("node", "", "machine", "process", "version", "since", "last seen"),
            [
                (n["id"], styled(_standing(n)), n["host"], str(n["pid"]), n["version"], moment(n["started_at"]),
                 moment(n["ended_at"] or n["last_seen_at"]))
                for n in found
            ],
            empty="None serves.",
        ),
    )  # fmt: skip


def _standing(node: dict[str, Any]) -> str:
    if node["is_alive"]:
        return "active"
    if node["ended_at"] and node["ended_by"] == node["id"]:
        return "stopped"
    return "gone"
