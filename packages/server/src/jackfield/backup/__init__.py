"""Backup and restore of a node's data folder: one archive, consistent in itself, made while the node runs.

The order makes it so. First the ends of the audit trails that are noted outside of the database, which a later database
has as well. Then, while no key can be replaced, the key file and the database, as of one moment. Then the packages and
exports, which are there before the database speaks of them. With PostgreSQL the database is dumped first, by its own
tools, and the archive has the rest.
"""

from __future__ import annotations

from jackfield.backup.archive import Backed, back_up
from jackfield.backup.errors import (
    BackupInvalidError,
    BackupTargetError,
    BackupUnavailableError,
    PassphraseError,
    RestoreTargetError,
)
from jackfield.backup.restoring import Restored, restore

__all__ = [
    "Backed",
    "BackupInvalidError",
    "BackupTargetError",
    "BackupUnavailableError",
    "PassphraseError",
    "RestoreTargetError",
    "Restored",
    "back_up",
    "restore",
]
