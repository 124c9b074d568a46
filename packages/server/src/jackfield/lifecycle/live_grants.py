"""`LiveGrants`: what installations hold at this moment, for the gate of capabilities."""

from __future__ import annotations

from jackfield.capabilities.rights import NOTHING, Granted
from jackfield.lifecycle.active import ActiveInstallations, TenantPlugins

__all__ = ["LiveGrants"]


class LiveGrants:
    """The `GrantSource` of `capabilities`, over the cache that is told of every change."""

    def __init__(self, active: ActiveInstallations) -> None:
        self._active = active

    def peek(self, tenant_id: str, installation_id: str) -> Granted | None:
        """What is held, without waiting; None when the tenant has to be loaded."""
        plugins = self._active.peek(tenant_id)
        return None if plugins is None else _held(plugins, installation_id)

    async def get(self, tenant_id: str, installation_id: str) -> Granted:
        """What is held; nothing by an installation that is gone."""
        return _held(await self._active.get(tenant_id), installation_id)


def _held(plugins: TenantPlugins, installation_id: str) -> Granted:
    found = plugins.by_id.get(installation_id) or plugins.held.get(installation_id)
    return found or plugins.resting.get(installation_id, NOTHING)
