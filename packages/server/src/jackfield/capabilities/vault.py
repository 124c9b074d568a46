"""The operator's keys: AES-256-GCM, each ciphertext bound to its place; the key file, and how it is replaced.

`docs/decisions/0005-secrets.md` and `0014-keeping.md` say why. What is encrypted here is `v1.KEYID.BASE64(nonce +
ciphertext + tag)`, bound to tenant, plugin and field (secrets of old), or `w1.…`, bound to tenant and id (data keys).
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jackfield.capabilities.errors import SecretKeyInvalidError, SecretKeyMissingError, SecretUnreadableError
from jackfield.settings import Settings

__all__ = [
    "SecretKeys",
    "Vault",
    "change_key_file",
    "create_key_file",
    "ensure_key_file",
    "key_file_held",
    "load_keys",
    "parse_keys",
    "place_of",
    "read_key_file",
    "sealed",
    "unsealed",
    "with_new_key",
    "without_key",
]

_VERSION = "v1"
_WRAPPED = "w1"
_READ_AGAIN_S = 1.0
_KEY_BYTES = 32
_NONCE_BYTES = 12
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_FILE = "secret.key"


@dataclass(frozen=True, slots=True)
class SecretKeys:
    """Keys by id.

    Attributes:
        current: Id of the one that encrypts; the others only decrypt what they encrypted before.
    """

    current: str
    by_id: Mapping[str, bytes] = field(repr=False)


class Vault:
    """The operator's keys at work. It does not guess: what it cannot prove to be whole and in its place, it refuses.

    Secrets are encrypted with data keys (`envelope`), and those with the keys here. Before there were data keys,
    secrets were encrypted with the keys here, and can still be read.

    Args:
        reload: Reads the keys anew. Asked when a key is met that is not known: another node may have made it.
    """

    def __init__(self, keys: SecretKeys, reload: Callable[[], SecretKeys] | None = None) -> None:
        self._reload = reload
        self._read_at = -_READ_AGAIN_S
        self._take(keys)

    @property
    def current(self) -> str:
        """Id of the key that encrypts."""
        return self._current

    @property
    def fingerprints(self) -> dict[str, str]:
        """What tells a key from another under the same id, for each of them. Of random keys it gives nothing away."""
        return dict(self._fingerprints)

    def refresh(self) -> None:
        """Read the keys anew.

        Raises:
            SecretKeyMissingError, SecretKeyInvalidError: They are gone, or cannot be used; those known stay in use.
        """
        if self._reload is not None:
            self._take(self._reload())

    def encrypt(self, plaintext: str, tenant_id: str, slug: str, name: str) -> str:
        """A token for this place and no other."""
        place = place_of(_VERSION, self._current, tenant_id, slug, name)
        return f"{_VERSION}.{self._current}.{sealed(self._ciphers[self._current], plaintext.encode(), place)}"

    def decrypt(self, token: str, tenant_id: str, slug: str, name: str) -> str:
        """The secret.

        Raises:
            SecretUnreadableError: The key is unknown, or the token was changed or belongs elsewhere.
        """
        version, _, rest = token.partition(".")
        key_id, _, body = rest.partition(".")
        cipher = self._cipher(key_id) if version == _VERSION else None
        if cipher is None:
            raise SecretUnreadableError(f"the secret `{name}` was encrypted with a key that this node has not")
        return unsealed(cipher, body, place_of(_VERSION, key_id, tenant_id, slug, name), name).decode()

    def wrap(self, data_key: bytes, tenant_id: str, data_key_id: str) -> tuple[str, str]:
        """A data key, encrypted for this tenant and id; and the id of the key that did it."""
        key_id = self._current
        place = place_of(_WRAPPED, key_id, tenant_id, data_key_id)
        return f"{_WRAPPED}.{key_id}.{sealed(self._ciphers[key_id], data_key, place)}", key_id

    def unwrap(self, wrapped: str, tenant_id: str, data_key_id: str) -> bytes:
        """The data key.

        Raises:
            SecretUnreadableError: The key is unknown, or it was changed or belongs elsewhere.
        """
        version, _, rest = wrapped.partition(".")
        key_id, _, body = rest.partition(".")
        cipher = self._cipher(key_id) if version == _WRAPPED else None
        if cipher is None:
            raise SecretUnreadableError("a tenant's key is encrypted with a key that this node has not")
        return unsealed(cipher, body, place_of(_WRAPPED, key_id, tenant_id, data_key_id), "data key")

    def handles(self, tenant_id: str, installation_id: str, name: str) -> list[str]:
        """Texts that stand for a secret in requests, that of the present key first: nobody can guess them, they are the
        same on every node and from call to call, and other ones in every installation."""
        place = place_of("handle", tenant_id, installation_id, name)
        digests = [hmac.digest(self._handle_keys[self._current], place, "sha256")]
        digests += [hmac.digest(key, place, "sha256") for id, key in self._handle_keys.items() if id != self._current]
        return [f"jfs_{base64.b32hexencode(digest[:25]).decode().lower()}" for digest in digests]

    def _cipher(self, key_id: str) -> AESGCM | None:
        cipher = self._ciphers.get(key_id)
        now = time.monotonic()
        if cipher is None and self._reload is not None and now - self._read_at >= _READ_AGAIN_S:
            # What names an unknown key may be anything; the file is not read for each of them.
            self._read_at = now
            with suppress(SecretKeyMissingError, SecretKeyInvalidError):
                self.refresh()
            cipher = self._ciphers.get(key_id)
        return cipher

    def _take(self, keys: SecretKeys) -> None:
        self._current = keys.current
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.by_id.items()}
        self._handle_keys = {
            key_id: hmac.digest(key, b"jackfield secret handles", "sha256") for key_id, key in keys.by_id.items()
        }
        self._fingerprints = {
            key_id: hashlib.sha256(b"jackfield secret key\0" + key).hexdigest() for key_id, key in keys.by_id.items()
        }


def sealed(cipher: AESGCM, data: bytes, place: bytes) -> str:
    """Base64 of nonce, ciphertext and tag."""
    nonce = os.urandom(_NONCE_BYTES)
    return base64.b64encode(nonce + cipher.encrypt(nonce, data, place)).decode()


def unsealed(cipher: AESGCM, body: str, place: bytes, name: str) -> bytes:
    """What was sealed for this place.

    Raises:
        SecretUnreadableError: It was changed, or belongs elsewhere.
    """
    try:
        data = base64.b64decode(body, validate=True)
        return cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], place)
    except (InvalidTag, ValueError) as error:
        raise SecretUnreadableError(f"the secret `{name}` cannot be decrypted") from error


def load_keys(settings: Settings) -> SecretKeys:
    """The keys from the settings, or else from the key file in the data directory.

    Raises:
        SecretKeyMissingError: There is neither.
        SecretKeyInvalidError: They cannot be used, or others may read the file.
    """
    return read_key_file(settings.data_dir) if settings.secret_key is None else parse_keys(settings.secret_key)


def read_key_file(data_dir: Path) -> SecretKeys:
    """The keys from the key file.

    Raises:
        SecretKeyMissingError: There is none.
        SecretKeyInvalidError: They cannot be used, or others may read the file.
    """
    try:
        # Neither follows a link nor waits at a pipe that somebody has put there.
        descriptor = os.open(data_dir / _FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise SecretKeyMissingError("this node has no key for secrets") from error
    except OSError as error:
        raise SecretKeyInvalidError(f"the key file cannot be read: {error.strerror}") from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or stat.S_IMODE(about.st_mode) & 0o077 or about.st_uid != os.geteuid():
            raise SecretKeyInvalidError(
                "the key file is open to others", hint=f"It has to belong to the node's user: chmod 600 {_FILE}"
            )
        text = os.read(descriptor, 16 * 1024)
    finally:
        os.close(descriptor)
    return parse_keys(text.decode("ascii", "replace").strip())


def create_key_file(data_dir: Path) -> Path:
    """Make a key file that only its owner can read; one that is there stays as it is."""
    path = data_dir / _FILE
    data_dir.mkdir(parents=True, exist_ok=True)
    # Beside its place first: a node that is killed half-way must not leave half a key where the next one looks.
    part = _written_beside(data_dir, _new_key())
    try:
        # Unlike a rename, a link never replaces what is there.
        with suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink()
    _sync_folder(data_dir)
    return path


def change_key_file(data_dir: Path, change: Callable[[SecretKeys], SecretKeys]) -> SecretKeys:
    """Replace the key file by another one, at once: whoever reads it has the keys from before, or from after.

    Two that change it take turns.

    Raises:
        SecretKeyMissingError, SecretKeyInvalidError: There is none that could be changed.
    """
    turn = os.open(data_dir / f"{_FILE}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        keys = change(read_key_file(data_dir))
        ids = [keys.current, *(key_id for key_id in keys.by_id if key_id != keys.current)]
        text = ",".join(f"{key_id}:{base64.b64encode(keys.by_id[key_id]).decode()}" for key_id in ids)
        part = _written_beside(data_dir, text)
        part.replace(data_dir / _FILE)
        _sync_folder(data_dir)
    finally:
        os.close(turn)
    return keys


@contextmanager
def key_file_held(data_dir: Path) -> Generator[bytes | None]:
    """The key file as it is; while this is open nobody replaces it. None where there is none.

    What is encrypted in the database meanwhile can be read with these keys: one is in the file before it is used, and
    leaves it when nothing needs it.
    """
    turn = os.open(data_dir / f"{_FILE}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        try:
            descriptor = os.open(data_dir / _FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            yield None
        else:
            with os.fdopen(descriptor, "rb") as file:
                content = file.read()
            yield content
    finally:
        os.close(turn)


def with_new_key(keys: SecretKeys) -> SecretKeys:
    """The same keys, and a new one that encrypts from now on."""
    key_id, _, encoded = _new_key().partition(":")
    return SecretKeys(key_id, {key_id: base64.b64decode(encoded), **keys.by_id})


def without_key(keys: SecretKeys, key_id: str) -> SecretKeys:
    """The same keys without one that no longer encrypts."""
    return SecretKeys(keys.current, {name: key for name, key in keys.by_id.items() if name != key_id})


def _new_key() -> str:
    return f"{os.urandom(4).hex()}:{base64.b64encode(os.urandom(_KEY_BYTES)).decode()}"


def _written_beside(data_dir: Path, text: str) -> Path:
    part = data_dir / f"{_FILE}.{os.urandom(4).hex()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode() + b"\n")
            file.flush()
            # Secrets are encrypted with it from now on: it must not be lost with the power.
            os.fsync(descriptor)
    except BaseException:
        # No half-written key is left lying about.
        part.unlink()
        raise
    return part


def _sync_folder(data_dir: Path) -> None:
    folder = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def ensure_key_file(data_dir: Path) -> None:
    """Make a key together with a fresh data folder.

    A folder that has a database but no key any more is a loss that must be seen: nothing is made there, and the node
    does not start.
    """
    if not Settings(data_dir=data_dir).database_file.exists():
        create_key_file(data_dir)


def parse_keys(text: str) -> SecretKeys:
    """Read `KEYID:BASE64[,KEYID:BASE64…]`; the first one encrypts. Messages never repeat any of it.

    Raises:
        SecretKeyInvalidError: It is not of this form.
    """
    keys: dict[str, bytes] = {}
    for number, part in enumerate(text.split(","), start=1):
        key_id, _, encoded = part.strip().partition(":")
        if not _KEY_ID.match(key_id) or key_id in keys:
            raise SecretKeyInvalidError(f"key {number} has no id of its own")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            # Without `from`: the cause's text could repeat the key.
            raise SecretKeyInvalidError(f"key {number} is not valid base64") from None
        if len(key) != _KEY_BYTES:
            raise SecretKeyInvalidError(f"key {number} has {len(key)} bytes instead of {_KEY_BYTES}")
        keys[key_id] = key
    return SecretKeys(next(iter(keys)), keys)


def place_of(*parts: str) -> bytes:
    """The associated data. Each part with its length before it, so that no two places can read alike."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
