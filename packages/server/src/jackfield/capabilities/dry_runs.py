"""What a handler may do while it is only tried out: read. What is not named here is refused, what comes later too."""

from __future__ import annotations

from typing import Any

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import DryRunError

__all__ = ["READING", "check_dry_run", "refuse"]

READING = {
    "cache": frozenset({"get"}),
    "config": frozenset({"get"}),
    "connections": frozenset({"get", "ref"}),
    "data": frozenset({"entities", "schema", "get", "list", "page", "count", "aggregate"}),
    "files": frozenset({"stat", "list", "read"}),
    # Which functions only read is known where they are called.
    "functions": frozenset({"offers", "call"}),
    "gateways": frozenset({"list"}),
    "http": frozenset({"request", "read"}),
    "members": frozenset({"tenant", "me", "my_address", "get", "list"}),
    "secrets": frozenset({"reveal", "ref"}),
    "storage": frozenset({"get", "get_many", "entry", "keys", "items"}),
    "tables": frozenset({"get", "find", "page", "count", "aggregate"}),
}
"""Capability → operations that change nothing."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST = 100


def check_dry_run(context: CapabilityContext, capability: str, operation: str, arguments: Any) -> None:
    """Let through what only reads, and note what does not.

    Raises:
        DryRunError: It would change something.
    """
    is_reading = operation in READING.get(capability, ())
    # A host that changes something on a GET is to blame for it, says RFC 9110, 9.2.1.
    if is_reading and (capability != "http" or operation != "request" or arguments.method.upper() in _SAFE_METHODS):
        return
    refuse(context, f"{capability}.{operation}")


def refuse(context: CapabilityContext, what: str) -> None:
    """Note what is not done.

    Raises:
        DryRunError: Always.
    """
    noted = context.tally.refused
    if noted is None:
        noted = context.tally.refused = []
    if len(noted) < _MOST:
        noted.append(what)
    raise DryRunError(what)
