"""Takes an upload in: to disk as it arrives, file by file, nothing kept that is not proven. Everything here blocks."""

from __future__ import annotations

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
        self._paths: list[str] = []
        with translated():
            self._package = workspace.package.open("wb")

    def feed(self, chunk: bytes) -> None:
        """The next bytes.

        Raises:
            PackageError: They break a rule.
            StoreUnavailableError: The disk refuses.
        """
        with translated():
            self._package.write(chunk)
            for file in self._reader.feed(chunk):
                # Numbered: no name that a stranger chose is ever a name on our disk.
                (self._workspace.spool / str(len(self._paths))).write_bytes(file.data)
                self._paths.append(file.path)

    def finish(self) -> Package:
        """No more comes.

        Raises:
            PackageError: The package is not complete.
        """
        with translated():
            self._package.close()
        return self._reader.finish()

    def files(self) -> dict[str, bytes]:
        """All files, by path. They are in memory from here on, so the caller lets few do this at the same time."""
        with translated():
            return {path: (self._workspace.spool / str(number)).read_bytes() for number, path in enumerate(self._paths)}

    def close(self) -> None:
        """Give back the open file; also after a failure."""
        self._package.close()


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
