"""Errors of isolation."""

from __future__ import annotations

from jackfield.errors import UnavailableError

__all__ = ["IsolationError", "ZygoteBusyError"]


class IsolationError(UnavailableError):
    """Plugins cannot be sealed as the operator demands, so none is run."""

    code = "isolation-unavailable"
    default_hint = "Run `python -m jackfield doctor` for what is missing and how to get it."


class ZygoteBusyError(IsolationError):
    """Not at this moment: whoever can wait should."""
