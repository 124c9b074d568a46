"""What can be wrong with a backup."""

from __future__ import annotations

from jackfield.errors import ConflictError, InvalidError, MissingError

__all__ = [
    "BackupInvalidError",
    "BackupTargetError",
    "BackupUnavailableError",
    "PassphraseError",
    "RestoreTargetError",
]


class BackupUnavailableError(MissingError):
    """There is nothing to back up."""

    code = "backup-nothing-there"
    default_hint = "Name the folder that the node runs on: --data."


class BackupTargetError(ConflictError):
    """The archive cannot be put where it was asked for."""

    code = "backup-target"
    default_hint = "Name a file that is not there yet, outside of the data folder."


class BackupInvalidError(InvalidError):
    """A file is no backup, is not whole, or is of a version that this one cannot read. Nothing was restored."""

    code = "backup-invalid"
    default_hint = "Take another copy of the backup; a backup of a newer version needs that version."


class PassphraseError(InvalidError):
    """The passphrase is too short, missing, or not the one that the keys were locked with."""

    code = "backup-passphrase"
    default_hint = "Give the file that has the passphrase: --passphrase-file."


class RestoreTargetError(ConflictError):
    """There is something already where the data are to be restored."""

    code = "restore-target-not-empty"
    default_hint = "Restore to a folder that is not there or is empty; move the old one away first."
