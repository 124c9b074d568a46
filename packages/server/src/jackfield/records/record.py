"""The record that every invocation leaves, whatever became of it."""

from __future__ import annotations

import msgspec

__all__ = ["DRY_RUN", "FAILURES", "InvocationRecord", "LogLine"]

LogLine = tuple[str, str, dict[str, str | int | float | bool | None]]
"""Level, message, fields."""

FAILURES = frozenset({"error", "timeout", "cpu", "memory", "crashed", "violation", "refused", "overloaded"})
"""Statuses that count as failures. A `user-error`, a `veto` and a `retry` are answers that a healthy plugin gives."""

DRY_RUN = "dry-run"
"""The kind of calls by which handlers were only tried out. None of them is a failure, however it ended."""


class InvocationRecord(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One invocation.

    New fields go to the end and have a default: a journal may be older than the program that reads it.

    Attributes:
        id: The invocation's id; what is recorded twice counts once.
        started_at: Seconds since 1970.
        status: `Outcome.status`.
        error_message: With `error_trace` and `log`: secrets have been taken out.
        payload_bytes: What the handler was given; `result_bytes`: what it returned.
        queries: Statements that the database ran for its capability calls.
        egress_bytes: What it sent out of the platform, and what came back.
        capabilities: Capability → calls.
        secret_leaks: Places in messages, traces and log lines where a secret stood.
        permissions: Grant → how often it let a capability call through.
        trace_id: Of the trace that the call belongs to (W3C Trace Context), 32 hex digits.
        parent_id: The call of another plugin within which it was made.
        chain: The plugins whose calls led to it, the first one first.
        called_cpu_us: Processor time of other plugins' functions that it called.
        metrics: What the handler counted of its own.
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
    payload_bytes: int = 0
    result_bytes: int = 0
    queries: int = 0
    egress_bytes: int = 0
    capabilities: dict[str, int] = {}
    secret_leaks: int = 0
    trace_id: str | None = None
    is_cold: bool = False
    permissions: dict[str, int] = {}
    parent_id: str | None = None
    chain: list[str] | None = None
    called_cpu_us: int = 0
    metrics: dict[str, int] | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it counts as one."""
        return self.status in FAILURES and self.kind != DRY_RUN
