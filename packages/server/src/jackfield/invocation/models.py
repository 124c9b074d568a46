"""What goes through the door to plugin code, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jackfield.capabilities.context import Staging
from jackfield.capabilities.origin import Origin
from jackfield.jobs import Attempt
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.wire import Caller, Delivery, Execution, Failure

__all__ = ["ActiveInstallation", "Invocation", "Kind", "Outcome", "Status"]

Kind = Literal[
    "filter", "event", "function", "route", "widget", "schedule", "webhook", "lifecycle", "health", "config-check"
]  # fmt: skip

Status = Literal[
    "ok", "error", "user-error", "veto", "retry", "timeout", "cpu", "memory", "crashed", "violation", "refused",
    "overloaded"
]  # fmt: skip
"""How a call ended.

`error` a defect of the plugin; `user-error` and `veto` meant for the acting user; `retry` asked for by an event
handler; `timeout`, `cpu`, `memory` a limit; `crashed` the process died; `violation` it broke the protocol or flooded
its output; `refused` it never ran; `overloaded` no isolate was free in time.
"""


@dataclass(frozen=True, slots=True)
class ActiveInstallation:
    """An installation as the runtime sees it. A change makes a new one with a higher revision.

    Attributes:
        digest: SHA-256 of the release's package, hex.
        image_path: Code image in the store.
        config: Configuration without secrets.
        secret_names: Secret fields that are set.
        grant_filters: Grant → the rows that the tenant narrowed it to, as plain data.
        staging: The copy of its data that it works on while that is moved to another release.
        revision: Isolates of older revisions are retired.
    """

    id: str
    tenant_id: str
    slug: str
    version: str
    digest: str
    image_path: Path
    manifest: Manifest
    grants: frozenset[str]
    config: Mapping[str, Any]
    secret_names: tuple[str, ...]
    revision: int
    grant_filters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    staging: Staging | None = None


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call to one handler.

    Attributes:
        name: What was triggered: the hook, event, function, route or slot.
        payload: Plain data.
        timeout_ms: The handler's budget; the platform's limit applies when it is lower.
        is_plain: The payload has been checked, and has only values that need no conversion.
        origin: How it came about through other plugins, and what was handed along; None for the usual call.
        execution: In what it takes part, when the kind does not say it all.
        is_dry_run: The handler is tried out: it may read and change nothing, and how it ends is not held against it.
        settling: The attempt of the delivery that it carries out, to end it together with what is written.
    """

    installation: ActiveInstallation
    kind: Kind
    name: str
    handler: str
    payload: Any
    timeout_ms: int
    caller: Caller | None = None
    delivery: Delivery | None = None
    locale: str = "en"
    is_plain: bool = False
    origin: Origin | None = None
    execution: Execution | None = None
    is_dry_run: bool = False
    settling: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended. Never an exception: a plugin's failure is data.

    Attributes:
        value: Plain data when `status` is `ok`.
        failure: Why not, otherwise.
        metrics: What the handler counted of its own.
        refused: What a dry run was kept from doing, as `storage.set`.
    """

    invocation_id: str
    status: Status
    value: Any = None
    failure: Failure | None = None
    duration_ms: float = 0.0
    cpu_ms: float = 0.0
    host_calls: int = 0
    metrics: Mapping[str, int] | None = None
    refused: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether the handler returned."""
        return self.status == "ok"
