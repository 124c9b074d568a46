"""What the platform asks of isolation. Nothing here assumes a process: another executor can stand behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from jackfield_sdk import wire

__all__ = ["CallLimits", "CallRequest", "CallResult", "Executor", "HostCalls", "IsolateSpec", "LogLine", "Status"]

Status = Literal[
    "ok", "failed", "timeout", "cpu", "memory", "crashed", "violation", "overloaded", "unsealed"
]  # fmt: skip
"""`failed`: the handler raised, see `failure`; `unsealed`: nothing could be sealed; the others as in `invocation`."""

LogLine = tuple[str, str, Mapping[str, Any]]
"""Level, message, fields."""

HostCalls = Callable[[wire.HostCall], Awaitable[wire.HostReply]]
"""Answers one capability call of the isolate; never raises."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What one call may use."""

    wall_ms: int
    cpu_ms: int
    host_calls: int
    result_bytes: int
    host_call_bytes: int
    output_bytes: int


@dataclass(frozen=True, slots=True)
class IsolateSpec:
    """What an isolate is for. Isolates are shared only between calls with the same `key`.

    Attributes:
        key: Tenant, installation, release and revision, as one hashable value.
        owner: The installation; its isolates count together and are retired together.
        image_path: Code image of the release.
        config: Configuration as msgpack, without secrets.
        tenant_id: Who shares the node with whom: tenants take turns. The installation itself when it is empty.
        tenant_isolates: How many isolates the tenant may have at the same time; 0: as the node's settings say.
    """

    key: tuple[str, int]
    owner: str
    slug: str
    entry: str
    image_path: Path
    config: msgspec.Raw
    secret_names: list[str]
    memory_mb: int
    concurrency: int
    tenant_id: str = ""
    tenant_isolates: int = 0


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One call. `payload` is msgpack; `is_plain` as in `wire.Call`."""

    kind: str
    handler: str
    payload: msgspec.Raw
    context: wire.CallContext
    limits: CallLimits
    is_plain: bool = False


@dataclass(slots=True)
class CallResult:
    """How it ended and what it cost.

    Attributes:
        value: Msgpack of the result.
        is_cold: Whether a process had to be started for it.
        is_unstarted: Whether it is certain that no line of the handler has run: the process ended before it read the
            call. Such a call can be made again.
        metrics: What the handler counted of its own, as it says; None when it counted nothing.
    """

    status: Status
    value: msgspec.Raw = field(default_factory=lambda: wire.NIL)
    failure: wire.Failure | None = None
    duration_us: int = 0
    cpu_us: int = 0
    host_calls: int = 0
    peak_kb: int = 0
    is_cold: bool = False
    is_unstarted: bool = False
    metrics: Mapping[str, int] | None = None
    log: list[LogLine] = field(default_factory=list[LogLine])


class Executor(Protocol):
    """Runs calls, sealed."""

    async def run(self, spec: IsolateSpec, request: CallRequest, host_calls: HostCalls) -> CallResult:
        """Run one call; every end is a result, none an exception."""
        ...

    async def retire(self, owner: str) -> None:
        """No further call runs on the present isolates of an installation; busy ones end after their call."""
        ...

    async def start(self) -> None:
        """Make ready.

        Raises:
            IsolationError: The level cannot be held here.
        """
        ...

    async def stop(self) -> None:
        """End everything."""
        ...
