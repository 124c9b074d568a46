"""What one call has used of the platform so far, counted where it is used."""

from __future__ import annotations

__all__ = ["Tally"]


class Tally:
    """Counters of one call. Each call makes one, so it is no dataclass: those take twice as long to be made.

    Attributes:
        queries: Statements that the database ran for it.
        egress_bytes: What it sent out of the platform, and what came back.
        payload_bytes: What the handler was given, as msgpack.
        capabilities: Capability → calls, refused ones too.
        traceparent: The span that the call is, or belongs to, as W3C Trace Context writes it; may be empty.
        revealed: Secrets in plain text that the isolate was given, or may have seen; they are looked for in all that
            is kept of the call.
    """

    __slots__ = ("capabilities", "egress_bytes", "payload_bytes", "queries", "revealed", "traceparent")

    def __init__(self) -> None:
        self.queries = 0
        self.egress_bytes = 0
        self.payload_bytes = 0
        self.traceparent = ""
        self.capabilities: dict[str, int] = {}
        self.revealed: list[str] = []
