"""What one call has used of the platform so far, counted where it is used."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Sent", "Tally"]


class Sent(NamedTuple):
    """One request that left the platform.

    Attributes:
        host: With its port when that is not the usual one; empty when the URL was none.
        status: 0 when nothing came back; then `code` says why.
        size: Bytes, both ways together.
    """

    method: str
    host: str
    status: int
    code: str
    size: int
    duration_ms: float


class Tally:
    """Counters of one call. Each call makes one, so it is no dataclass: those take twice as long to be made.

    Attributes:
        queries: Statements that the database ran for it.
        egress_bytes: What it sent out of the platform, and what came back.
        payload_bytes: What the handler was given, as msgpack.
        capabilities: Capability → calls, refused ones too.
        permissions: Grant → how often it let a call through.
        called_cpu_us: Processor time of the functions of other plugins that it called, in microseconds.
        traceparent: The span that the call is, or belongs to, as W3C Trace Context writes it; may be empty.
        revealed: Secrets in plain text that the isolate was given, or may have seen; they are looked for in all that
            is kept of the call.
        requests: What it sent out, the first ones; None when it sent nothing.
        transaction: Of `data`, while one is open.
        refused: What a dry run was kept from doing, as `storage.set`; None when there was nothing.
        bodies: Rests of responses that it has not read yet, by number; None as long as there was none.
    """

    __slots__ = (
        "bodies", "called_cpu_us", "capabilities", "egress_bytes", "payload_bytes", "permissions", "queries",
        "refused", "requests", "revealed", "traceparent", "transaction",
    )  # fmt: skip

    def __init__(self) -> None:
        self.queries = 0
        self.egress_bytes = 0
        self.payload_bytes = 0
        self.called_cpu_us = 0
        self.traceparent = ""
        self.capabilities: dict[str, int] = {}
        self.permissions: dict[str, int] = {}
        self.revealed: list[str] = []
        self.requests: list[Sent] | None = None
        self.bodies: dict[int, memoryview] | None = None
        self.transaction: Any = None
        self.refused: list[str] | None = None
