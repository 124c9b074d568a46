"""Payloads about the platform itself: what becomes of a tenant's plugins."""

from __future__ import annotations

import msgspec

__all__ = ["Ping", "PluginChange"]


class PluginChange(msgspec.Struct, frozen=True, kw_only=True):
    """Something has become of another plugin of the tenant: `plugin.installed` and its kin. The platform sends it.

    Attributes:
        version: Of the release that is installed now, or was until now.
        previous_version: Of the one before, when it was updated or taken back.
        by: The member who asked for it; None when it was the platform itself.
        reason: A code, when the platform did it.
    """

    slug: str
    version: str
    instance: str = "default"
    previous_version: str | None = None
    by: str | None = None
    reason: str | None = None


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """Payload of the demo's event `demo.ping`."""

    n: int
