"""What is in a backup: a tar file, whose last member lists all the others with sizes and digests."""

from __future__ import annotations

import re
from typing import Final

import msgspec

__all__ = [
    "ANCHORS", "DATABASE", "FOLDERS", "FORMAT", "KEYS", "LIST", "LIST_BYTES", "LOCKED_KEYS", "Contents", "Member",
    "is_allowed",
]  # fmt: skip

FORMAT: Final = 1
LIST: Final = "backup.json"
LIST_BYTES: Final = 256 * 1024 * 1024
DATABASE: Final = "jackfield.sqlite3"
KEYS: Final = "secret.key"
LOCKED_KEYS: Final = "secret.key.locked"
ANCHORS: Final = "audit-heads"
FOLDERS: Final = ("store", "exports")

# No part begins with a dot: neither `..` nor what is only on its way.
_PART = r"[A-Za-z0-9_@+=-][A-Za-z0-9_.@+=-]{0,199}"
_BELOW = re.compile(rf"store/[0-9a-f]{{2}}/[0-9a-f]{{64}}/{_PART}\Z|exports/{_PART}/{_PART}\.jsonl\Z")


class Member(msgspec.Struct, frozen=True):
    """One file."""

    size: int
    sha256: str
    mode: int


class Contents(msgspec.Struct, frozen=True):
    """All of them.

    Attributes:
        version: Of the platform that wrote it.
        revision: Of the database's schema; None when the database is not in the archive.
        keys: Whether the keys are in it as they are, locked with a passphrase, or left out.
    """

    format: int
    version: str
    revision: str | None
    keys: str
    made_at: str
    members: dict[str, Member]


def is_allowed(name: str) -> bool:
    """Whether a backup may have a file of this name. Nothing else is ever written by `restore`."""
    return name in (DATABASE, KEYS, LOCKED_KEYS, ANCHORS) or _BELOW.match(name) is not None
