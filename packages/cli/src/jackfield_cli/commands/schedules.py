"""`schedules`: when a plugin runs by itself: look, run now, pause, go on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jackfield_cli.arguments import Installed, Limit
from jackfield_cli.command import Session, examples, remote
from jackfield_cli.installation import path_of
from jackfield_cli.views import done, listing, moment, styled

__all__ = ["app"]

app = typer.Typer(help="When plugins run by themselves.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The plugin's schedule.", show_default=False)]


@app.command("list", epilog=examples("jackfield schedules list channel-analytics"))
@remote
def list_command(session: Session, slug: Installed) -> None:
    """A plugin's schedules, and when each runs next."""
    found = session.client.get("plugins", path_of(slug), "schedules")["items"]
    session.terminal.answer(
        found,
        lambda: listing(
            ("schedule", "", "cron", "time zone", "runs next", "ran last", "left out"),
            [
                (s["name"], styled(_standing(s)), s["cron"], s["timezone"], moment(s["next_at"]),
                 moment(s["last_fired_at"]), str(s["skipped"]))
                for s in found
            ],
            empty="It has no schedules.",
        ),
    )  # fmt: skip


@app.command("history", epilog=examples("jackfield schedules history channel-analytics purge"))
@remote
def history(session: Session, slug: Installed, name: Name, limit: Limit = 20) -> None:
    """Its runs and what became of them, the latest first."""
    found = session.client.pages("plugins", path_of(slug), "schedules", name, "history", limit=limit)
    session.terminal.answer(
        found,
        lambda: listing(
            ("run", "state", "attempts", "begun by", "ended", "error"),
            [
                (d["id"], styled(d["state"]), f"{d['attempt']} of {d['max_attempts']}", moment(d["created_at"]),
                 moment(d["finished_at"]), d["error_message"] or "")
                for d in found
            ],
            empty="It has not run.",
        ),
    )  # fmt: skip


@app.command("run", epilog=examples("jackfield schedules run channel-analytics purge"))
@remote
def run(session: Session, slug: Installed, name: Name) -> None:
    """Run it now, beside its times."""
    begun = session.client.write("POST", "plugins", path_of(slug), "schedules", name, "run")
    session.terminal.answer(begun, lambda: done(f"{name} runs as {begun['delivery_id']}"))


@app.command("pause", epilog=examples("jackfield schedules pause channel-analytics purge"))
@remote
def pause(session: Session, slug: Installed, name: Name) -> None:
    """Let it rest until `resume`; an update of the plugin does not wake it."""
    found = session.client.write("POST", "plugins", path_of(slug), "schedules", name, "pause")
    session.terminal.answer(found, lambda: done(f"{name} rests"))


@app.command("resume", epilog=examples("jackfield schedules resume channel-analytics purge"))
@remote
def resume(session: Session, slug: Installed, name: Name) -> None:
    """Go on with its next time."""
    found = session.client.write("POST", "plugins", path_of(slug), "schedules", name, "resume")
    session.terminal.answer(found, lambda: done(f"{name} runs next at {moment(found['next_at'])}"))


def _standing(schedule: dict[str, Any]) -> str:
    if schedule["paused_at"]:
        return "paused"
    return "active" if schedule["is_active"] else "inactive"
