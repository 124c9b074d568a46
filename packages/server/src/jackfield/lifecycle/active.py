"""What is at work in each tenant, ready to be dispatched to. Read on every trigger, so it is kept in memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from jackfield.invocation import ActiveInstallation
from jackfield.lifecycle.snapshots import Resting, Snapshots
from jackfield_sdk.manifest import EventHandler, Filter, Widget

__all__ = ["ActiveInstallations", "TenantPlugins", "assemble"]

T = TypeVar("T")
Found = tuple[tuple[ActiveInstallation, T], ...]

_TENANTS = 10_000
"""Tenants kept in memory; the least recently used one goes first."""


@dataclass(frozen=True, slots=True)
class TenantPlugins:
    """Everything active in one tenant. A change makes a new one.

    Attributes:
        by_slug: The plugin's `default` instance, under its slug; every other one under `slug@instance`.
        filters: Hook point → handlers of all instances, by priority, then slug; those that only look come last.
        events: Event → handlers, by slug.
        held: What is quarantined, by id: nothing reaches it, and its events wait.
        held_events: Event → its handlers.
        widgets: Slot → widgets, by order, then slug.
        resting: What holds grants and is not at work, by id: calls that began before may still run.
    """

    by_slug: Mapping[str, ActiveInstallation]
    by_id: Mapping[str, ActiveInstallation]
    filters: Mapping[str, Found[Filter]]
    events: Mapping[str, Found[EventHandler]]
    widgets: Mapping[str, Found[Widget]]
    held: Mapping[str, ActiveInstallation]
    held_events: Mapping[str, Found[EventHandler]]
    resting: Mapping[str, Resting] = field(default_factory=dict[str, Resting])


def assemble(
    installations: Iterable[tuple[str, ActiveInstallation]],
    held: Iterable[ActiveInstallation] = (),
    resting: Mapping[str, Resting] | None = None,
) -> TenantPlugins:
    """Index active installations.

    Args:
        installations: Pairs of instance name and installation.
        held: Those in quarantine.
        resting: All others that are installed, by id.
    """
    waiting = {installation.id: installation for installation in held}
    held_events: defaultdict[str, list[tuple[ActiveInstallation, EventHandler]]] = defaultdict(list)
    for installation in waiting.values():
        for handler in installation.manifest.events:
            held_events[handler.event].append((installation, handler))
    named = sorted(installations, key=lambda pair: (pair[1].slug, pair[0]))
    found = [installation for _, installation in named]
    filters: defaultdict[str, list[tuple[ActiveInstallation, Filter]]] = defaultdict(list)
    events: defaultdict[str, list[tuple[ActiveInstallation, EventHandler]]] = defaultdict(list)
    widgets: defaultdict[str, list[tuple[ActiveInstallation, Widget]]] = defaultdict(list)
    for installation in found:
        manifest = installation.manifest
        for part in manifest.filters:
            filters[part.hook].append((installation, part))
        for handler in manifest.events:
            events[handler.event].append((installation, handler))
        for widget in manifest.widgets:
            widgets[widget.slot].append((installation, widget))
    # Sorting is stable, so equal priorities stay in the order of slugs, and within a plugin in that of its manifest.
    return TenantPlugins(
        by_slug={key_of(installation.slug, instance): installation for instance, installation in named},
        by_id={installation.id: installation for installation in found},
        filters={hook: _in_order(pairs) for hook, pairs in filters.items()},
        events={event: tuple(pairs) for event, pairs in events.items()},
        widgets={slot: tuple(sorted(pairs, key=lambda pair: pair[1].order)) for slot, pairs in widgets.items()},
        held=waiting,
        held_events={event: tuple(pairs) for event, pairs in held_events.items()},
        resting=resting or {},
    )


def _in_order(pairs: list[tuple[ActiveInstallation, Filter]]) -> Found[Filter]:
    return tuple(sorted(pairs, key=lambda pair: (pair[1].observe, pair[1].priority)))


def key_of(slug: str, instance: str) -> str:
    """How an installation is found in `by_slug`."""
    return slug if instance == "default" else f"{slug}@{instance}"


class ActiveInstallations:
    """The cache. A tenant is loaded once, however many ask at the same time.

    Args:
        capacity: Tenants kept in memory.
        prepare: Told of a tenant before it can be called: what stands before the door has no time to look things up.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        capacity: int = _TENANTS,
        *,
        prepare: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._capacity = capacity
        self._prepare = prepare
        self._cached: OrderedDict[str, TenantPlugins] = OrderedDict()
        self._loading: dict[str, asyncio.Task[TenantPlugins]] = {}

    def peek(self, tenant_id: str) -> TenantPlugins | None:
        """What is cached, without waiting; None when the tenant has to be loaded (`get`)."""
        plugins = self._cached.get(tenant_id)
        if plugins is not None:
            self._cached.move_to_end(tenant_id)
        return plugins

    async def get(self, tenant_id: str) -> TenantPlugins:
        """Everything active in a tenant."""
        plugins = self.peek(tenant_id)
        if plugins is not None:
            return plugins
        task = self._loading.get(tenant_id)
        if task is None:
            task = self._loading[tenant_id] = asyncio.create_task(self._load(tenant_id))
        # Shielded: one caller that gives up must not take the answer from the others.
        return await asyncio.shield(task)

    async def by_id(self, tenant_id: str, installation_id: str) -> ActiveInstallation | None:
        """The active installation with this id."""
        return (await self.get(tenant_id)).by_id.get(installation_id)

    def invalidate(self, tenant_id: str) -> None:
        """Forget a tenant: something has changed. What is being loaded at this moment is not kept either."""
        self._cached.pop(tenant_id, None)
        self._loading.pop(tenant_id, None)

    def invalidate_all(self) -> None:
        """Forget all tenants: nobody knows what has changed."""
        self._cached.clear()
        self._loading.clear()

    async def _load(self, tenant_id: str) -> TenantPlugins:
        this = asyncio.current_task()
        try:
            if self._prepare is not None:
                await self._prepare(tenant_id)
            plugins = assemble(*await self._snapshots.active(tenant_id))
            if self._loading.get(tenant_id) is this:
                self._cached[tenant_id] = plugins
                if len(self._cached) > self._capacity:
                    self._cached.popitem(last=False)
            return plugins
        finally:
            if self._loading.get(tenant_id) is this:
                del self._loading[tenant_id]
