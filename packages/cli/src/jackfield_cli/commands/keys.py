"""`keys`: what packages are signed with."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import typer

from jackfield_cli.command import examples, local
from jackfield_cli.keys import create_key, keys_folder, list_keys, load_key
from jackfield_cli.terminal import Terminal
from jackfield_cli.views import done, facts, listing, stack

__all__ = ["app"]

app = typer.Typer(help="The keys that your packages are signed with.", no_args_is_help=True)

_KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="16 hex digits, as `keys list` shows them.")]


@app.command("list", epilog=examples("jackfield keys list"))
@local
def list_command(terminal: Terminal) -> None:
    """The keys on this machine."""
    default = _default()
    known = [{"key_id": key_id, "is_default": key_id == default} for key_id in list_keys()]
    terminal.answer(
        known,
        lambda: listing(
            ("key", ""),
            [(str(key["key_id"]), "default" if key["is_default"] else "") for key in known],
            empty="No key yet. The first `pack` makes one, and so does `jackfield keys new`.",
        ),
    )


@app.command("new", epilog=examples("jackfield keys new"))
@local
def new(terminal: Terminal) -> None:
    """Make a key. The first one is your default; another signs when `pack --key` names it."""
    key = create_key()
    path = keys_folder() / f"{key.key_id}.pem"
    terminal.answer(
        _public(key.key_id, key.public) | {"path": str(path)},
        lambda: stack(done(f"key {key.key_id}"), facts([("file", str(path)), ("public key", _text(key.public))])),
    )


@app.command("show", epilog=examples("jackfield keys show 21fe31dfa154a261"))
@local
def show(terminal: Terminal, key_id: _KeyId) -> None:
    """The public half of a key, as the registry knows it."""
    key = load_key(key_id)
    terminal.answer(
        _public(key.key_id, key.public), lambda: facts([("key", key.key_id), ("public key", _text(key.public))])
    )


def _public(key_id: str, public: bytes) -> dict[str, Any]:
    return {"key_id": key_id, "algorithm": "ed25519", "public_key": _text(public)}


def _text(public: bytes) -> str:
    return base64.b64encode(public).decode()


def _default() -> str:
    """Which key signs when none is named; empty before the first one was used."""
    known = list_keys()
    try:
        return (keys_folder() / "default").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return known[0] if len(known) == 1 else ""
