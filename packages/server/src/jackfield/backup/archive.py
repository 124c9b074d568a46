"""Writes a backup. Everything here blocks: it is for the command line."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec

from jackfield.backup import layout
from jackfield.backup.errors import BackupTargetError, BackupUnavailableError
from jackfield.backup.locking import locked
from jackfield.capabilities import key_file_held
from jackfield.db import migrate

__all__ = ["Backed", "back_up"]


@dataclass(frozen=True, slots=True)
class Backed:
    """What was written. The list of the files is not counted among them."""

    path: Path
    files: int
    size_bytes: int
    has_database: bool
    keys: str


def back_up(
    data_dir: Path, target: Path, *, with_database: bool = True, with_keys: bool = True, passphrase: str | None = None
) -> Backed:
    """Write a data folder into one new file, which only its owner may read. The node may run meanwhile.

    Args:
        with_database: Whether the database is the one in the folder.
        with_keys: Whether the key file is put in.
        passphrase: What it is locked with; as it is when absent.

    Raises:
        BackupTargetError, BackupUnavailableError, PassphraseError: See there. Nothing is left behind.
    """
    data_dir, target = data_dir.absolute(), target.absolute()
    if not (data_dir / layout.DATABASE).is_file() and with_database:
        raise BackupUnavailableError("there is no database in the data folder")
    if not data_dir.is_dir():
        raise BackupUnavailableError("there is no data folder")
    if target.resolve().is_relative_to(data_dir.resolve()):
        raise BackupTargetError("a backup inside of what it is of is lost together with it")
    part = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    try:
        if target.exists() or target.is_symlink():
            raise BackupTargetError("there is a file of that name already")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BackupTargetError(f"the backup cannot be written: {error.strerror}") from error
    snapshot = part.with_name(f"{part.name}.sqlite3")
    try:
        with os.fdopen(descriptor, "wb") as file:
            writing = _Writing(file)
            keys = _write_all(writing, data_dir, snapshot, with_database, with_keys, passphrase)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        try:
            # A link rather than a rename: it never takes another file's place.
            os.link(part, target)
        except FileExistsError as error:
            raise BackupTargetError("there is a file of that name already") from error
    except OSError as error:
        raise BackupTargetError(f"the backup cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
        snapshot.unlink(missing_ok=True)
    return Backed(target, len(writing.members) - 1, size, with_database, keys)


class _Writing:
    def __init__(self, file: io.BufferedWriter) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  # closed by `finish`
        self.members: dict[str, layout.Member] = {}

    def add(self, name: str, path: Path) -> None:
        """A file; what is gone meanwhile is left out."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if stat.S_ISREG(about.st_mode):
                self._add(name, file, about.st_size, stat.S_IMODE(about.st_mode))

    def add_bytes(self, name: str, content: bytes) -> None:
        self._add(name, io.BytesIO(content), len(content), 0o600)

    def finish(self, contents: layout.Contents) -> None:
        self.add_bytes(layout.LIST, msgspec.json.encode(contents))
        self._tar.close()

    def _add(self, name: str, file: io.BufferedIOBase, size: int, mode: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, mode
        # A file that grows meanwhile, as the trails' ends do, is taken as long as it was.
        source = _Digesting(file)
        self._tar.addfile(info, source)
        self.members[name] = layout.Member(size, source.digest.hexdigest(), mode)


class _Digesting(io.RawIOBase):
    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _write_all(
    writing: _Writing, data_dir: Path, snapshot: Path, with_database: bool, with_keys: bool, passphrase: str | None
) -> str:
    revision: str | None = None
    keys: Literal["plain", "locked", "none"] = "none"
    if with_database:
        writing.add(layout.ANCHORS, data_dir / layout.ANCHORS)
    with key_file_held(data_dir) as key_file:
        if with_keys and key_file is not None:
            keys = "plain" if passphrase is None else "locked"
            name = layout.KEYS if passphrase is None else layout.LOCKED_KEYS
            writing.add_bytes(name, key_file if passphrase is None else locked(key_file, passphrase))
        if with_database:
            revision = _copy_database(data_dir / layout.DATABASE, snapshot)
    if with_database:
        writing.add(layout.DATABASE, snapshot)
    for folder in layout.FOLDERS:
        for path in _files(data_dir / folder):
            name = path.relative_to(data_dir).as_posix()
            if layout.is_allowed(name):
                writing.add(name, path)
    made_at = datetime.now(UTC).isoformat()
    members = dict(writing.members)
    writing.finish(layout.Contents(layout.FORMAT, metadata.version("jackfield"), revision, keys, made_at, members))
    return keys


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(root, name)


def _copy_database(source: Path, target: Path) -> str | None:
    """As of one moment, also while others write (https://www.sqlite.org/backup.html); the schema's revision."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=30.0)) as reading,
            closing(sqlite3.connect(target)) as copy,
        ):
            reading.backup(copy)
            # One file, without a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            damage = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            if damage != "ok":
                raise BackupUnavailableError(f"the database is damaged: {damage}", hint="Restore an earlier backup.")
            return copy.execute(f"SELECT version_num FROM {migrate.VERSION_TABLE}").fetchone()[0]  # noqa: S608  # a constant
    except (sqlite3.Error, TypeError) as error:
        raise BackupUnavailableError(f"the database cannot be read: {error}") from error
