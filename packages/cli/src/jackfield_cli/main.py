"""The `jackfield` command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer

from jackfield_cli.command import examples
from jackfield_cli.commands import (
    auditing,
    authoring,
    breakers,
    calling,
    changes,
    channels,
    connecting,
    deliveries,
    developing,
    granting,
    hosting,
    installed,
    installing,
    keys,
    nodes,
    notifications,
    reading,
    registry,
    retention,
    returning,
    schedules,
    tables,
    updating,
    usage,
    watching,
    webhooks,
)
from jackfield_cli.errors import CliError
from jackfield_cli.terminal import report

__all__ = ["app", "main"]

app = typer.Typer(
    name="jackfield",
    help="Write, check, pack and publish plugins; install and watch them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="The server is JACKFIELD_URL (http://127.0.0.1:8000 when not set), and JACKFIELD_TOKEN says who you are."
    "\n\nIt ends with 0 when all went well, 1 when something was refused or failed, 2 when the command line is wrong.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="jackfield")
    except CliError as error:
        report(error)
        return error.exit_status
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    return 0


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        print(f"jackfield {version('jackfield-cli')}")
        raise typer.Exit


@app.callback()
def _root(  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def _add(panel: str, name: str, function: Callable[..., Any], *lines: str, passes_on: bool = False) -> None:
    settings = {"allow_extra_args": True, "ignore_unknown_options": True} if passes_on else None
    app.command(name, rich_help_panel=panel, epilog=examples(*lines), context_settings=settings)(function)


_WRITE, _MARKET, _TENANT, _USE, _WATCH, _RUN = (
    "Write plugins", "Marketplace", "Install and change", "Use", "Watch", "Run here",
)  # fmt: skip

_add(_WRITE, "new", authoring.new, "jackfield new loyalty-points", "jackfield new loyalty-points --dir plugins/points")
_add(_WRITE, "check", authoring.check, "jackfield check .", "jackfield check plugins/echo --json")
_add(
    _WRITE, "pack", authoring.pack, "jackfield pack plugins/echo -o echo.jfp", "jackfield pack . --key 21fe31dfa154a261"
)
_add(_WRITE, "run", developing.run, "jackfield run plugins/echo", "jackfield run . --once --json")
app.add_typer(keys.app, name="keys", rich_help_panel=_WRITE)

_add(_MARKET, "publish", registry.publish, "jackfield publish echo.jfp")
_add(_MARKET, "search", registry.search, "jackfield search", "jackfield search points --category loyalty")
_add(_MARKET, "info", registry.info, "jackfield info loyalty-points")

_add(_TENANT, "plan", installing.plan, "jackfield plan loyalty-points")
_add(
    _TENANT, "install", installing.install,
    "jackfield install loyalty-points",
    "jackfield install loyalty-points --grant-all --config '{\"points_per_dollar\": 2}'",
    "jackfield install loyalty-points --version 1.0.0 --grant customers:read --grant customers:write",
)  # fmt: skip
_add(
    _TENANT, "update", updating.update,
    "jackfield update loyalty-points",
    "jackfield update loyalty-points --version 1.3.0 --grant-all",
)  # fmt: skip
_add(
    _TENANT, "rollback", returning.rollback,
    "jackfield rollback loyalty-points",
    "jackfield rollback loyalty-points --to 1.2.0 --data restore -o written-since.jsonl --yes",
)  # fmt: skip
_add(_TENANT, "history", returning.history, "jackfield history loyalty-points")
_add(_TENANT, "list", installed.list_command, "jackfield list", "jackfield list --state active --json")
_add(_TENANT, "show", installed.show, "jackfield show loyalty-points")
_add(
    _TENANT, "configure", installed.configure,
    "jackfield configure loyalty-points '{\"points_per_dollar\": 2}'",
    "jackfield configure loyalty-points @config.json",
)  # fmt: skip
_add(
    _TENANT, "grants", installed.grants,
    "jackfield grants loyalty-points", "jackfield grants loyalty-points --withdraw customers:write",
)  # fmt: skip
_add(
    _TENANT, "grant", granting.grant,
    "jackfield grant loyalty-points customers:write",
    "jackfield grant loyalty-points customers:read --where '[[\"city\", \"eq\", \"Berlin\"]]'",
)  # fmt: skip
_add(_TENANT, "revoke", granting.revoke, "jackfield revoke loyalty-points customers:write")
_add(_TENANT, "connections", connecting.connections, "jackfield connections loyalty-points")
_add(
    _TENANT, "connect", connecting.connect,
    "jackfield connect loyalty-points data --settings @supabase.json",
    "jackfield connect loyalty-points data --settings @supabase.json --test",
    "jackfield connect booking calendar",
)  # fmt: skip
_add(_TENANT, "disconnect", connecting.disconnect, "jackfield disconnect loyalty-points data")
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=_TENANT)
app.add_typer(channels.app, name="channels", rich_help_panel=_TENANT)
app.add_typer(schedules.app, name="schedules", rich_help_panel=_TENANT)
app.add_typer(notifications.app, name="notifications", rich_help_panel=_TENANT)
_add(_TENANT, "activate", installed.activate, "jackfield activate loyalty-points")
_add(_TENANT, "deactivate", installed.deactivate, "jackfield deactivate loyalty-points")
_add(
    _TENANT, "uninstall", installing.uninstall,
    "jackfield uninstall loyalty-points --data keep",
    "jackfield uninstall loyalty-points --data export -o points.jsonl --yes",
)  # fmt: skip

_add(
    _USE, "call", calling.call,
    "jackfield call echo echo '{\"text\": \"hello\"}'",
    "jackfield call echo pings",
    "jackfield call echo echo @arguments.json --json",
)  # fmt: skip
_add(_USE, "functions", calling.functions, "jackfield functions", "jackfield functions echo --json")
_add(_USE, "emit", calling.emit, "jackfield emit demo.ping '{\"n\": 1}'")
_add(
    _USE, "filter", calling.filter_command,
    "jackfield filter booking.beforeCreate @booking.json",
    "jackfield filter booking.beforeCreate @booking.json --dry-run",
)  # fmt: skip

_add(_USE, "tables", tables.tables, "jackfield tables loyalty-points")
_add(
    _USE, "export", tables.export,
    "jackfield export loyalty-points ledger -o ledger.jsonl",
    "jackfield export loyalty-points ledger --format csv -o ledger.csv",
)  # fmt: skip

_add(_WATCH, "logs", reading.logs, "jackfield logs echo", "jackfield logs echo --follow --level warning")
_add(_WATCH, "errors", reading.errors, "jackfield errors echo")
_add(_WATCH, "stats", reading.stats, "jackfield stats echo")
app.add_typer(deliveries.app, name="deliveries", rich_help_panel=_WATCH)
_add(_WATCH, "health", reading.health, "jackfield health", "jackfield health echo")
_add(_WATCH, "inventory", reading.inventory, "jackfield inventory echo")
_add(_WATCH, "permissions", granting.permissions, "jackfield permissions loyalty-points")
_add(_WATCH, "usage", usage.usage, "jackfield usage", "jackfield usage --json")
_add(_WATCH, "changes", changes.changes, "jackfield changes --plugin loyalty-points", "jackfield changes --json")
_add(
    _TENANT, "revert", changes.revert,
    "jackfield revert 41 40", "jackfield revert --plugin loyalty-points --since 2026-03-01T09:30",
)  # fmt: skip
app.add_typer(auditing.app, name="audit", rich_help_panel=_WATCH)
app.add_typer(retention.app, name="retention", rich_help_panel=_WATCH)
_add(_WATCH, "nodes", nodes.nodes, "jackfield nodes", "jackfield nodes --json")
_add(_WATCH, "breakers", breakers.breakers, "jackfield breakers", "jackfield breakers --tenant acme --json")
_add(_WATCH, "watch", watching.watch, "jackfield watch", "jackfield watch --kinds installation,widget --json")
_add(_WATCH, "me", reading.me, "jackfield me")

_add(_RUN, "serve", hosting.serve, "jackfield serve --data .data --port 8000", passes_on=True)
_add(_RUN, "demo", hosting.demo, "jackfield demo --data .demo --port 8000", passes_on=True)
_add(_RUN, "doctor", hosting.doctor, "jackfield doctor", "jackfield doctor --matrix", passes_on=True)
_add(_RUN, "backup", hosting.backup, "jackfield backup --data .data -o monday.backup", passes_on=True)
_add(_RUN, "restore", hosting.restore, "jackfield restore monday.backup --data .restored", passes_on=True)
