"""The record that every invocation leaves, whatever became of it."""

from __future__ import annotations

import msgspec

__all__ = ["FAILURES", "InvocationRecord", "LogLine"]

LogLine = tuple[str, str, dict[str, str | int | float | bool | None]]
"""Level, message, fields."""

FAILURES = frozenset({"error", "timeout", "cpu", "memory", "crashed", "violation", "refused", "overloaded"})
"""Statuses that count as failures. A `user-error`, a `veto` and a `retry` are answers that a healthy plugin gives."""


class InvocationRecord(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One invocation.

    New fields go to the end and have a default: a journal may be older than the program that reads it.

    Attributes:
        id: The invocation's id; what is recorded twice counts once.
        started_at: Seconds since 1970.
        status: `Outcome.status`.
    """

    id: str
    tenant_id: str
    installation_id: str
    plugin: str
    version: str
    kind: str
    name: str
    handler: str
    caller_id: str | None = None
    caller_role: str | None = None
    started_at: float
    duration_us: int = 0
    cpu_us: int = 0
    host_calls: int = 0
    memory_kb: int = 0
    status: str = "ok"
    error_code: str | None = None
    error_message: str | None = None
    error_trace: str | None = None
    delivery_id: str | None = None
    log: list[LogLine] = []
