"""An update that somebody asked for, and that waits until a tenant consents to what it asks for in addition."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from jackfield.lifecycle.consent import Wanted
from jackfield.lifecycle.models import InstallationRow

__all__ = ["Failed", "Pending", "pending_of"]


class Failed(msgspec.Struct, frozen=True):
    """Why it could not be continued, though everything was granted."""

    code: str
    message: str


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Kept with the installation; `msgspec.to_builtins` makes what is stored.

    Attributes:
        missing: Permissions that have to be granted yet.
        grants: Permissions that were granted for it; they are in force once it is done.
        grant_filters: Of these, the rows that they are narrowed to.
        rows: Of what is missing, the rows that the new release asks for; `reasons`: why, in the publisher's words.
        asked_by: Who asked for it, as in the audit trail.
    """

    version: str
    missing: list[str]
    grants: list[str] = []
    grant_filters: dict[str, list[Any]] = {}
    rows: dict[str, list[Any]] = {}
    reasons: dict[str, str] = {}
    asked_by: str | None = None
    since: datetime
    failed: Failed | None = None

    @property
    def given(self) -> Wanted:
        """What was granted for it."""
        return Wanted(frozenset(self.grants), self.grant_filters)

    def plain(self) -> dict[str, Any]:
        """As it is stored."""
        return msgspec.to_builtins(self)


def pending_of(row: InstallationRow) -> Pending | None:
    """The update that an installation waits for, if any."""
    return None if row.pending_update is None else msgspec.convert(row.pending_update, Pending)
