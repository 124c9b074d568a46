"""What the command line says when something cannot be done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["FAILED", "USAGE", "CliError", "UsageError"]

FAILED = 1
USAGE = 2


class CliError(Exception):
    """Refused or failed.

    Attributes:
        code: Stable kebab-case identifier: the server's when it refused, else ours.
        hint: What to do about it; may be empty.
        details: Further lines, one for each fault.
        data: For `--json`: the server's whole problem document, if there is one.
        exit_status: What the process ends with.
    """

    exit_status = FAILED

    def __init__(
        self,
        message: str,
        *,
        code: str,
        hint: str = "",
        details: tuple[str, ...] = (),
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.details = details
        self.data = dict(data or {})
        self.is_json = False
        """Set on the way out of a command that was asked for JSON."""

    def document(self) -> dict[str, Any]:
        """The error for a program."""
        return {**self.data, "detail": str(self), "code": self.code, "hint": self.hint}


class UsageError(CliError):
    """The command line itself is wrong."""

    exit_status = USAGE
