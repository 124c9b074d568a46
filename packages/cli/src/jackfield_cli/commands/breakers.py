"""`breakers`: which handlers are left alone, for operators."""

from __future__ import annotations

from typing import Annotated

import typer

from jackfield_cli.command import Session, remote
from jackfield_cli.views import listing, moment

__all__ = ["breakers"]


@remote
def breakers(
    session: Session,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.", show_default=False)] = None,
) -> None:
    """Handlers of all tenants' plugins that are left alone because they failed too often. For operators."""
    found = session.client.pages("operators", "breakers", limit=10_000, tenant=tenant)
    session.terminal.answer(
        found,
        lambda: listing(
            ("tenant", "plugin", "version", "handler", "since", "until", "failures", "the last"),
            [
                (b["tenant_id"], b["slug"] if b["instance"] == "default" else f"{b['slug']}@{b['instance']}",
                 b["version"], b["handler"], moment(b["opened_at"]), moment(b["until"]), b["failures"], b["code"])
                for b in found
            ],
            empty="None is left alone.",
        ),
    )  # fmt: skip
