"""Make a plugin do something: `call`, `functions`, `emit`, `filter`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jackfield_cli.arguments import Installed, json_object
from jackfield_cli.command import Session, remote
from jackfield_cli.errors import FAILED, CliError
from jackfield_cli.installation import path_of
from jackfield_cli.printable import as_json
from jackfield_cli.problems import problem_in
from jackfield_cli.views import done, facts, listing, stack, styled

__all__ = ["call", "emit", "filter_command", "functions"]

_HELP = "JSON in place, @FILE, or - for stdin."


@remote
def call(
    session: Session,
    slug: Installed,
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="Its name.", show_default=False)],
    arguments: Annotated[str, typer.Argument(metavar="[JSON]", help=f"The arguments by name. {_HELP}")] = "{}",
) -> None:
    """Call a function of a plugin, and print what it returns as JSON. With `--json`, the whole answer."""
    body = {"arguments": json_object(arguments, "the arguments")}
    response = session.client.attempt("POST", "plugins", path_of(slug), "functions", function, body=body)
    problem = None if response.is_success else problem_in(response)
    # What never ran is a problem document that has the members of an answer as well.
    answer: dict[str, Any] = response.json() if problem is None else problem.data
    if session.terminal.is_json and "success" in answer:
        session.terminal.json(answer)
        if not answer["success"]:
            raise typer.Exit(FAILED)
        return
    if problem is not None:
        raise problem
    if not answer["success"]:
        error = answer["error"]
        raise CliError(
            error["message"],
            code=error["code"],
            hint=error.get("hint") or f"`jackfield errors {slug}` has more.",
            data=answer,
        )
    session.terminal.json(answer["output"])


@remote
def functions(
    session: Session,
    slug: Annotated[
        str | None, typer.Argument(metavar="[SLUG]", help="Only this plugin's.", show_default=False)
    ] = None,
) -> None:
    """The functions that can be called."""
    found = session.client.get("functions", plugin=slug)
    session.terminal.answer(
        found,
        lambda: listing(
            ("plugin", "function", "arguments", "for", "", "what it does"),
            [(f["plugin"], f["name"], _parameters(f), f["role"], _traits(f), f["description"]) for f in found],
            empty="No active plugin has functions.",
        ),
    )


@remote
def emit(
    session: Session,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="As `sale.created`.", show_default=False)],
    payload: Annotated[str, typer.Argument(metavar="JSON", help=_HELP, show_default=False)],
) -> None:
    """Emit an event of the host. It is committed when this ends, and delivered from then on."""
    answer = session.client.write("POST", "events", event, body=json_object(payload, "the payload"))
    session.terminal.answer(answer, lambda: done(f"{event} is on its way as {answer['id']}"))


@remote
def filter_command(
    session: Session,
    hook: Annotated[str, typer.Argument(metavar="HOOK", help="As `booking.beforeCreate`.", show_default=False)],
    payload: Annotated[str, typer.Argument(metavar="JSON", help=_HELP, show_default=False)],
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Run every handler, whatever the one before says; show each, and leave nothing behind."
        ),
    ] = False,
) -> None:
    """Pass a value through a filter hook, and show what each plugin made of it."""
    body = json_object(payload, "the payload")
    answer = session.client.write("POST", "filters", hook, body=body, dry_run="1" if dry_run else None)
    session.terminal.answer(
        answer,
        lambda: stack(
            listing(
                ("plugin", "handler", "priority", "", "ms", "what", ""),
                [
                    (s["plugin"], s["handler"], s["priority"], styled(s["end"]), float(s["duration_ms"]),
                     _changes(s["patch"]), _trouble(s))
                    for s in answer["steps"]
                ],
                empty="No active plugin filters this.",
            ),
            facts([("payload", as_json(answer["payload"]))]),
        ),
    )  # fmt: skip


def _changes(patch: list[dict[str, Any]]) -> str:
    """A JSON Patch in one line; only a dry run tells of it."""
    return ", ".join(f"{each['op']} {each['path'] or 'all'} {_value(each)}".rstrip() for each in patch)


def _value(change: dict[str, Any]) -> str:
    return as_json(change["value"], indent=None) if "value" in change else ""


def _trouble(step: dict[str, Any]) -> str:
    refused = ", ".join(dict.fromkeys(step["refused"]))
    return ". ".join(text for text in (step["message"], f"Not done: {refused}" if refused else "") if text)


def _parameters(function: dict[str, Any]) -> str:
    schema = function["parameters"]
    needed = set(schema.get("required", ()))
    names = [name if name in needed else f"{name}?" for name in schema.get("properties", {})]
    return ", ".join(names)


def _traits(function: dict[str, Any]) -> str:
    names = ("read_only", "destructive")
    return ", ".join(name.replace("_", "-") for name in names if function[name])
