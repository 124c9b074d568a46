"""`retention`: for how long records are kept: look, wish for another time; for operators, what was dropped."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jackfield_cli.command import Session, examples, remote
from jackfield_cli.errors import UsageError
from jackfield_cli.views import done, listing, moment

__all__ = ["app"]

app = typer.Typer(help="For how long records are kept.", no_args_is_help=True)


Tenant = Annotated[
    str | None, typer.Option("--tenant", help="For operators: this tenant's, instead of yours.", show_default=False)
]


@app.command("show", epilog=examples("jackfield retention show", "jackfield retention show --tenant acme"))
@remote
def show(session: Session, tenant: Tenant = None) -> None:
    """For how long each kind of record of your tenant is kept, and what you may wish for."""
    found = session.client.get(*_whose(tenant))["kinds"]
    session.terminal.answer(
        found,
        lambda: listing(
            ("kind", "kept for", "platform", "yours may be", "what it is"),
            [(k["kind"], _days(k["days"]), _days(k["platform_days"]), _bounds(k), k["says"]) for k in found],
            empty="Nothing is kept.",
        ),
    )


@app.command("set", epilog=examples("jackfield retention set logs --days 7", "jackfield retention set logs --default"))
@remote
def set_command(
    session: Session,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="As `show` has it.", show_default=False)],
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=36_500, help="Older ones go.", show_default=False)
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="As the platform does for all.")] = False,
    tenant: Tenant = None,
) -> None:
    """Have your tenant's records of a kind kept for another time. What is older than that is dropped, for good."""
    if (days is None) is not default:
        raise UsageError("it is not clear for how long", code="retention-unclear", hint="Give --days N, or --default.")
    kept = session.client.write("PUT", *_whose(tenant), kind, body={"days": days})
    session.terminal.answer(kept, lambda: done(f"{kept['kind']} are kept: {_days(kept['days'])}"))


@app.command("runs", epilog=examples("jackfield retention runs", "jackfield retention runs --json"))
@remote
def runs(session: Session) -> None:
    """When each kind was last gone through in all tenants, and how many rows went. For operators."""
    found = session.client.get("operators", "retention")["kinds"]
    session.terminal.answer(
        found,
        lambda: listing(
            ("kind", "begun", "ended", "went", "in all", "error"),
            [
                (k["kind"], moment(k["started_at"]), moment(k["finished_at"]), str(k["removed"]), str(k["total"]),
                 k["error"] or "")
                for k in found
            ],
            empty="Nothing is kept.",
        ),
    )  # fmt: skip


def _whose(tenant: str | None) -> tuple[str, ...]:
    return ("retention",) if tenant is None else ("tenants", tenant, "retention")


def _days(days: int | None) -> str:
    return "for ever" if days is None else f"{days} days" if days != 1 else "1 day"


def _bounds(kept: dict[str, Any]) -> str:
    shortest, longest = kept["shortest"], kept["longest"]
    return f"{shortest} days or more" if longest is None else f"{shortest} to {longest} days"
