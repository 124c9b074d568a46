"""Writing a plugin on a running platform: `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jackfield_cli.arguments import json_object
from jackfield_cli.command import Session, remote
from jackfield_cli.development import Development
from jackfield_cli.installation import state_line
from jackfield_cli.views import done, stack

__all__ = ["run"]


@remote
def run(
    session: Session,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The plugin's folder.", exists=True, file_okay=False)],
    config: Annotated[
        str | None, typer.Option("--config", metavar="JSON|@FILE", help="Its configuration.", show_default=False)
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Put it to work and end; do not watch the folder.")] = False,
) -> None:
    """Try a plugin in your tenant: each save replaces what runs, without a dropped call; what it logs is shown.

    Nothing is published, and nobody else can have it. All that it asks for is granted. What is saved and broken is
    said, and what was at work before still is. With `--json`, one line for each thing that happens. The platform's
    operator has to allow it: JACKFIELD_DEVELOPMENT=1.
    """
    settings = None if config is None else json_object(config, "--config")
    development = Development(session.client, session.terminal, folder, settings)
    if once:
        installed = development.once()
        session.terminal.answer(
            installed,
            lambda: stack(done(f"{installed['slug']} {installed['version']} is installed"), state_line(installed)),
        )
        return
    if not session.terminal.is_json:
        session.terminal.note(f"watching {folder}; Ctrl-C ends it, and leaves the plugin installed")
    try:
        development.for_ever()
    except KeyboardInterrupt:
        raise typer.Exit from None
