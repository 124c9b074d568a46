"""Takes an upload in: to disk as it arrives, nothing kept that is not proven. Everything here blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from jackfield.registry.store import Workspace, translated
from jackfield.registry.values import PublisherKey
from jackfield_sdk.errors import PackageError
from jackfield_sdk.package import Package, PackageReader, Verify

__all__ = ["Intake", "verifier"]


class Intake:
    """One upload into a workspace.

    Args:
        max_bytes: Of the package file.
    """

    def __init__(self, workspace: Workspace, verify: Verify, max_bytes: int) -> None:
        self._workspace = workspace
        self._reader = PackageReader(verify, max_bytes=max_bytes)
        self._sizes: dict[str, int] = {}
        with translated():
            self._package = workspace.package.open("wb")
            self._spool = workspace.spool.open("wb")

    def feed(self, chunk: bytes) -> None:
        """The next bytes.

        Raises:
            PackageError: They break a rule.
            StoreUnavailableError: The disk refuses.
        """
        with translated():
            self._package.write(chunk)
            for file in self._reader.feed(chunk):
                # One behind the other: no name that a stranger chose is ever a name on our disk, and five thousand
                # little files do not take five thousand inodes.
                self._spool.write(file.data)
                self._sizes[file.path] = len(file.data)

    def finish(self) -> Package:
        """No more comes.

        Raises:
            PackageError: The package is not complete.
        """
        with translated():
            self._package.close()
            self._spool.close()
        return self._reader.finish()

    def files(self) -> dict[str, bytes]:
        """All files, by path. They are in memory from here on, so the caller lets few do this at the same time."""
        with translated(), self._workspace.spool.open("rb") as spool:
            return {path: spool.read(size) for path, size in self._sizes.items()}

    def close(self) -> None:
        """Give back the open files; also after a failure."""
        for file in (self._package, self._spool):
            # On a full disk closing fails, too: what was not written yet cannot be. Nobody needs it any more.
            with contextlib.suppress(OSError):
                file.close()


def verifier(keys: Mapping[str, PublisherKey]) -> Verify:
    """Checks signatures against a publisher's keys."""

    def verify(key_id: str, signature: bytes, message: bytes) -> None:
        key = keys.get(key_id)
        if key is None:
            raise PackageError(
                f"the key {key_id} is not one of this publisher's",
                code="key-unknown",
                hint="Add it first: `jackfield keys add`.",
            )
        if key.revoked_at is not None:
            raise PackageError(f"the key {key_id} was revoked", code="key-revoked", hint="Sign with another key.")
        try:
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
        except InvalidSignature as error:
            raise PackageError(
                "the signature does not fit the list",
                code="signature-invalid",
                hint="The package was changed after it was signed, or signed by another key.",
            ) from error

    return verify
