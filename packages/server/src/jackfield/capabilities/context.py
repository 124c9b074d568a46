"""On whose behalf a capability is used. Made by the platform for each call; nothing in it comes from the isolate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jackfield.capabilities.tally import Tally
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.wire import Caller, Delivery

__all__ = ["CapabilityContext"]


@dataclass(frozen=True, slots=True)
class CapabilityContext:
    """One call of one installation.

    Attributes:
        manifest: Of the release that runs, which says what tables and events there are.
        grants: Permissions that the tenant gave.
        caller: The member on whose behalf it runs, if any.
        config: Effective configuration, without secrets.
        tally: What the call uses; the one thing here that changes.
    """

    tenant_id: str
    installation_id: str
    slug: str
    manifest: Manifest
    grants: frozenset[str]
    caller: Caller | None = None
    invocation_id: str = ""
    delivery: Delivery | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tally: Tally = field(default_factory=Tally, compare=False)
