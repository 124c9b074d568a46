"""Reads a backup and believes nothing of it. Everything here blocks: it is for the command line."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from jackfield.backup import layout
from jackfield.backup.errors import BackupInvalidError, PassphraseError, RestoreTargetError
from jackfield.backup.locking import unlocked
from jackfield.db import migrate

__all__ = ["Restored", "restore"]

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Restored:
    """What was read."""

    files: int
    version: str
    made_at: str
    has_database: bool
    has_keys: bool


def restore(backup: Path, data_dir: Path, *, passphrase: str | None = None) -> Restored:
    """Make a data folder of a backup: all of it, or nothing.

    Raises:
        BackupInvalidError, PassphraseError, RestoreTargetError: See there.
    """
    data_dir = data_dir.absolute()
    if data_dir.is_symlink() or (data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir()))):
        raise RestoreTargetError("there is something already where the data are to be restored")
    staging = data_dir.with_name(f".{data_dir.name}.{os.urandom(4).hex()}")
    try:
        staging.mkdir(mode=0o700, parents=True)
        contents = _read(backup, staging)
        _open_keys(staging, contents, passphrase)
        _close_folders(staging)
        if data_dir.exists():
            data_dir.rmdir()
        staging.rename(data_dir)
    except OSError as error:
        raise RestoreTargetError(
            f"the backup cannot be restored: {error.strerror}", hint="Nothing was done."
        ) from error
    finally:
        _discard(staging)
    return Restored(
        len(contents.members), contents.version, contents.made_at, contents.revision is not None,
        contents.keys != "none",
    )  # fmt: skip


def _read(backup: Path, staging: Path) -> layout.Contents:
    found: dict[str, layout.Member] = {}
    contents: layout.Contents | None = None
    try:
        with tarfile.open(backup, mode="r:") as tar:
            for info in tar:
                if contents is not None:
                    raise BackupInvalidError("there is something behind the list of the backup's files")
                # A sparse file would be as large as it says, of an archive as small as it likes.
                if info.type != tarfile.REGTYPE or info.issparse():
                    raise BackupInvalidError("there is something in the backup that is no file")
                file = tar.extractfile(info)
                if file is None:
                    raise BackupInvalidError("a file of the backup cannot be read")
                if info.name == layout.LIST:
                    if info.size > layout.LIST_BYTES:
                        raise BackupInvalidError("the list of the backup's files is too long")
                    contents = msgspec.json.decode(file.read(), type=layout.Contents)
                    continue
                if not layout.is_allowed(info.name) or info.name in found:
                    raise BackupInvalidError("the backup has a file that it may not have")
                found[info.name] = _copied(
                    file.read, staging / info.name, 0o444 if info.name.startswith("store/") else 0o600
                )
    except (tarfile.TarError, msgspec.MsgspecError, EOFError, UnicodeError) as error:
        raise BackupInvalidError("this is no backup, or it is not whole") from error
    except FileNotFoundError as error:
        raise BackupInvalidError("there is no such file") from error
    if contents is None:
        raise BackupInvalidError("the backup is cut off")
    _check(contents, found)
    return contents


def _check(contents: layout.Contents, found: dict[str, layout.Member]) -> None:
    if contents.format != layout.FORMAT:
        raise BackupInvalidError(f"the backup has the format {contents.format}, this version reads {layout.FORMAT}")
    if (contents.revision is None) == (layout.DATABASE in found):
        raise BackupInvalidError("the backup does not say which schema its database has")
    if contents.revision is not None and not migrate.knows(contents.revision):
        raise BackupInvalidError(f"the backup is of version {contents.version}, whose database this one does not know")
    told = {name: (member.size, member.sha256) for name, member in contents.members.items()}
    if told != {name: (member.size, member.sha256) for name, member in found.items()}:
        raise BackupInvalidError("the backup is damaged: its files are not those that it lists")


def _copied(read: Callable[[int], bytes], target: Path, mode: int) -> layout.Member:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(
        os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "wb"
    ) as file:
        while data := read(_CHUNK):
            digest.update(data)
            size += len(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        # Packages may be read by isolates, and written by nobody; all else is the node's alone.
        os.fchmod(file.fileno(), mode)
    return layout.Member(size, digest.hexdigest(), mode)


def _open_keys(staging: Path, contents: layout.Contents, passphrase: str | None) -> None:
    sealed = staging / layout.LOCKED_KEYS
    if not sealed.exists():
        return
    if passphrase is None:
        raise PassphraseError("the keys in this backup are locked with a passphrase")
    keys = unlocked(sealed.read_bytes(), passphrase)
    with os.fdopen(os.open(staging / layout.KEYS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(keys)
        file.flush()
        os.fsync(file.fileno())
    sealed.unlink()


def _close_folders(staging: Path) -> None:
    """Releases are as the store leaves them: nobody adds to them."""
    for release in (staging / "store").glob("*/*/"):
        release.chmod(0o555)


def _discard(staging: Path) -> None:
    if not staging.exists():
        return
    for folder in (staging / "store").glob("*/*/"):
        folder.chmod(0o755)
    shutil.rmtree(staging)
