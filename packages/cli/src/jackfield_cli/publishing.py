"""Publishing: whose key signed the package, is it known over there, then the upload."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from jackfield_cli.client import Client
from jackfield_cli.errors import CliError
from jackfield_cli.keys import SigningKey, list_keys, load_key
from jackfield_cli.terminal import Terminal
from jackfield_sdk.errors import PackageError
from jackfield_sdk.package import PackageReader

__all__ = ["Published", "publish_package"]

_MEDIA_TYPE = "application/vnd.jackfield.package"
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Published:
    """What was done.

    Attributes:
        release: As the registry answered.
        is_key_new: The key was added to the publisher on the way.
    """

    release: dict[str, Any]
    publisher_id: str
    key_id: str
    is_key_new: bool


def publish_package(client: Client, path: Path, terminal: Terminal) -> Published:
    """Check a package, register its key when that is needed, and upload it.

    Raises:
        PackageError: The file is damaged, or no package at all.
        CliError: The registry refuses, or the key is not to be found.
    """
    key_id = signer_of(path)
    publisher_id = _publisher(client)
    is_key_new = _register(client, publisher_id, key_id)
    if is_key_new:
        terminal.note(f"registered the key {key_id} with the publisher {publisher_id}")
    release = _upload(client, path, terminal)
    return Published(release, publisher_id, key_id, is_key_new)


def signer_of(path: Path) -> str:
    """The key that signed a package, which is read as strictly as the registry will.

    Raises:
        PackageError: It breaks a rule of the format; of the signature, too, when the key is one of ours.
    """
    seen: list[str] = []

    def verify(key_id: str, signature: bytes, message: bytes) -> None:
        seen.append(key_id)
        if (key := _own_key(key_id)) is None:
            return  # somebody else's: the registry can tell
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
        except InvalidSignature:
            raise PackageError(
                "the signature does not fit the package", code="signature-invalid", hint="Pack it again."
            ) from None

    reader = PackageReader(verify)
    with path.open("rb") as file:
        for chunk in _chunks(file):
            for _ in reader.feed(chunk):
                pass
    reader.finish()
    return seen[0]


def _publisher(client: Client) -> str:
    me = client.get("me")
    if me.get("publisher_id") is None:
        raise CliError(
            f"the token is that of {me.get('role', 'somebody')}, and only publishers publish",
            code="not-a-publisher",
            hint="Set JACKFIELD_TOKEN to a publisher's token.",
        )
    return str(me["publisher_id"])


def _register(client: Client, publisher_id: str, key_id: str) -> bool:
    """Make sure that the registry knows the key; whether it had to be told."""
    for known in client.get("registry", "keys")["items"]:
        if known["key_id"] == key_id:
            if known["revoked_at"] is not None:
                raise CliError(
                    f"the key {key_id} was revoked",
                    code="key-revoked",
                    hint="`jackfield keys new` makes another; pack again with it.",
                )
            return False
    key = _own_key(key_id)
    if key is None:
        raise CliError(
            f"the package is signed by the key {key_id}, which is neither registered nor on this machine",
            code="key-missing",
            hint="Pack it again here, or publish it where that key is.",
        )
    body = {
        "public_key": base64.b64encode(key.public).decode(),
        "proof": base64.b64encode(key.proof(publisher_id)).decode(),
        "name": "command line",
    }
    client.write("POST", "registry", "keys", body=body)
    return True


def _own_key(key_id: str) -> SigningKey | None:
    return load_key(key_id) if key_id in list_keys() else None


def _upload(client: Client, path: Path, terminal: Terminal) -> dict[str, Any]:
    size = path.stat().st_size
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = terminal.progress()
    with (
        path.open("rb") as file,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("uploading", total=size)

        def counted() -> Iterator[bytes]:
            for chunk in _chunks(file):
                yield chunk
                bar.advance(task, len(chunk))
            # The registry now compiles and imports the plugin, sealed, to see that the package is what it says.
            bar.update(task, description="being checked")

        return client.upload(("registry", "releases"), counted(), size=size, media_type=_MEDIA_TYPE)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
