"""On the author's own machine: `new`, `check`, `pack`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import RenderableType

from jackfield_cli.arguments import Slug
from jackfield_cli.command import local
from jackfield_cli.contents import contents, contents_view
from jackfield_cli.keys import SigningKey, load_key
from jackfield_cli.pack import PackedResult, pack_project
from jackfield_cli.scaffold import write_project
from jackfield_cli.terminal import Terminal
from jackfield_cli.views import done, facts, size, stack

__all__ = ["check", "new", "pack"]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The plugin's folder.", exists=True, file_okay=False)]


@local
def new(
    terminal: Terminal,
    slug: Slug,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="Where to write it; ./SLUG when left out.")
    ] = None,
) -> None:
    """Begin a plugin: a folder with code, a test and a README that work as they are."""
    target = folder or Path(slug)
    written = write_project(slug, target)
    terminal.answer(
        {"slug": slug, "folder": str(target), "files": written},
        lambda: stack(
            done(f"{target} holds the plugin {slug}"),
            facts([("", written)]),
            facts([("next", f"jackfield check {target}"), ("", f"python -m pytest {target}")]),
        ),
    )


@local
def check(terminal: Terminal, folder: Folder) -> None:
    """Say what a plugin contributes and asks for. What `pack` would refuse, this refuses; no file is written."""
    with tempfile.TemporaryDirectory() as elsewhere:
        # The one sure way to know what packing would say is to pack. The key signs this once and is gone.
        packed = pack_project(folder, Path(elsewhere), key=SigningKey(Ed25519PrivateKey.generate()))
    manifest = contents(packed.manifest)
    terminal.answer(
        {"slug": packed.slug, "version": packed.version, "size": packed.size, "files": packed.files}
        | {"skipped": list(packed.skipped), **manifest},
        lambda: stack(
            done(f"{packed.slug} {packed.version} can be packed ({packed.files} files, {size(packed.size)})"),
            contents_view(manifest),
            _skipped(packed),
        ),
    )


@local
def pack(
    terminal: Terminal,
    folder: Folder,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="The package to write, or a folder for SLUG-VERSION.jfp."),
    ] = Path(),
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY_ID", help="The key that signs; your default key when left out.")
    ] = None,
) -> None:
    """Make the signed package of a plugin. The same folder gives the same bytes."""
    packed = pack_project(folder, out, key=None if key is None else load_key(key))
    terminal.answer(
        _result(packed),
        lambda: stack(
            done(f"{packed.slug} {packed.version} is packed"),
            facts(
                [
                    ("file", str(packed.path)), ("size", f"{size(packed.size)}, {packed.files} files"),
                    ("sha-256", packed.digest), ("key", packed.key_id),
                ]
            ),
            _skipped(packed),
        ),
    )  # fmt: skip


def _result(packed: PackedResult) -> dict[str, Any]:
    names = ("slug", "version", "digest", "size", "files", "key_id")
    return {
        "path": str(packed.path),
        **{name: getattr(packed, name) for name in names},
        "skipped": list(packed.skipped),
    }


def _skipped(packed: PackedResult) -> RenderableType | None:
    return facts([("left out", packed.skipped)]) if packed.skipped else None
