"""The author's signing keys: Ed25519, one file each, readable by their owner alone.

They lie in `$JACKFIELD_HOME/keys`, or `jackfield/keys` in the user's configuration folder (XDG), as `<key_id>.pem`.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from jackfield_sdk.errors import PluginError
from jackfield_sdk.package import key_id_of, key_proof_message

__all__ = ["KeyFileError", "SigningKey", "create_key", "default_key", "keys_folder", "list_keys", "load_key"]

_KEY_ID = re.compile(r"[0-9a-f]{16}")
_DEFAULT = "default"


class KeyFileError(PluginError):
    """A key cannot be used; `code` is `key-missing`, `key-unreadable` or `key-exposed`."""

    code = "key-unreadable"


class SigningKey:
    """A private key that signs packages.

    Attributes:
        public: The raw public key, 32 bytes.
        key_id: First 16 hex digits of its SHA-256.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()
        self._key_id = key_id_of(self.public)

    @property
    def key_id(self) -> str:
        return self._key_id

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes; the same message always has the same one."""
        return self._private.sign(message)

    def proof(self, publisher_id: str) -> bytes:
        """What the registry asks for before it adds this key to a publisher."""
        return self.sign(key_proof_message(publisher_id))

    def __repr__(self) -> str:
        return f"SigningKey({self.key_id!r})"


def keys_folder() -> Path:
    """Where keys are kept."""
    if home := os.environ.get("JACKFIELD_HOME"):
        return Path(home) / "keys"
    # The XDG specification says to ignore a relative path.
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (configured if configured.is_absolute() else Path.home() / ".config") / "jackfield" / "keys"


def create_key(folder: Path | None = None) -> SigningKey:
    """Make a new key and keep it."""
    folder = folder or keys_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = Ed25519PrivateKey.generate()
    key = SigningKey(private)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_new(folder / f"{key.key_id}.pem", pem)
    return key


def load_key(key_id: str, folder: Path | None = None) -> SigningKey:
    """A key by its id.

    Raises:
        KeyFileError: There is none, it is damaged, or others can read it.
    """
    path = (folder or keys_folder()) / f"{key_id}.pem"
    if not _KEY_ID.fullmatch(key_id):
        raise KeyFileError(f"{key_id!r} is not a key id", hint="A key id has 16 hex digits.")
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise KeyFileError(
                    f"others can read {path}", code="key-exposed", hint=f"chmod 600 {path}, or make a new key."
                )
            private = load_pem_private_key(file.read(64 * 1024), password=None)
    except FileNotFoundError as error:
        raise KeyFileError(f"there is no key {key_id} in {path.parent}", code="key-missing") from error
    except (OSError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path} cannot be read as a key: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is not an Ed25519 key")
    key = SigningKey(private)
    if key.key_id != key_id:
        raise KeyFileError(f"{path} holds the key {key.key_id}", hint="Give the file its own name back.")
    return key


def list_keys(folder: Path | None = None) -> list[str]:
    """Ids of all keys here."""
    folder = folder or keys_folder()
    return sorted(path.stem for path in folder.glob("*.pem") if _KEY_ID.fullmatch(path.stem))


def default_key(folder: Path | None = None) -> SigningKey:
    """The key that signs when none is named: the file `default` names it. Made on first use.

    Raises:
        KeyFileError: As `load_key`.
    """
    folder = folder or keys_folder()
    named = folder / _DEFAULT
    with contextlib.suppress(FileNotFoundError):
        return load_key(named.read_text(encoding="ascii").strip(), folder)
    known = list_keys(folder)
    key = load_key(known[0], folder) if len(known) == 1 else create_key(folder)
    try:
        _write_new(named, f"{key.key_id}\n".encode())
    except FileExistsError:  # another process was first; its choice holds
        if key.key_id not in known:
            (folder / f"{key.key_id}.pem").unlink()
        return load_key(named.read_text(encoding="ascii").strip(), folder)
    return key


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet: complete or not there at all, and never readable by others."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        Path(temporary).unlink()
