"""The platform's catalogue, installations and records, as the page of plugins shows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from corner_shop.extension.views import Installed, Offer, Permission, Proposal, Record
from jackfield import Platform
from jackfield.capabilities import asked, describe
from jackfield.http import PageRequest
from jackfield.lifecycle import Actor
from jackfield.lifecycle import Installed as PlatformInstalled
from jackfield.records import AuditFilter
from jackfield.registry import CatalogueEntry
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.wire import Caller

__all__ = ["DataChoice", "Plugins"]

DataChoice = Literal["keep", "export", "delete"]

_LATEST = PageRequest(limit=30)
_PLACES = {
    "POS.BeforeCheckout": "beside the cart",
    "POS.AfterCheckout": "on receipts",
    "Product.Form": "in the form of a product",
    "Product.Details": "on the page of a product",
    "Customer.Profile": "on the page of a customer",
    "Customer.Form": "in the form of a customer",
    "Reports.Dashboard": "below the week's figures",
    "Dashboard.Widgets": "on the dashboard",
}


class Plugins:
    """Questions and commands about one organisation's plugins.

    Args:
        platform: A started one.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    # -- the marketplace ---------------------------------------------------------------------------------------------

    async def offers(self, tenant_id: str, search: str = "") -> list[Offer]:
        """What can be installed, by name."""
        found = await self._platform.registry.search(search)
        have = await self._slugs(tenant_id)
        return [_offer(entry, entry.slug in have) for entry in found.items]

    async def proposal(self, tenant_id: str, slug: str, version: str | None = None) -> Proposal:
        """One plugin, with all that it asks for.

        Raises:
            PlatformError: There is no such plugin or release.
        """
        entry = await self._platform.registry.entry(slug)
        release = await self._platform.registry.release(slug, version or entry.version)
        manifest = release.manifest
        offer = _offer(entry, slug in await self._slugs(tenant_id))
        return Proposal(
            offer=replace(offer, version=manifest.version, name=manifest.name, summary=manifest.summary),
            description=manifest.description,
            permissions=_permissions(manifest, None),
            adds=_adds(manifest),
        )

    # -- what is installed -------------------------------------------------------------------------------------------

    async def installed(self, tenant_id: str) -> list[Installed]:
        """Everything that is installed, running or not."""
        names = await self._names(tenant_id)
        return [await self._view(one, names) for one in await self._platform.lifecycle.list(tenant_id)]

    async def installed_one(self, tenant_id: str, slug: str) -> Installed:
        """One of them.

        Raises:
            PlatformError: It is not installed.
        """
        found = await self._platform.lifecycle.get(tenant_id, slug)
        return await self._view(found, await self._names(tenant_id))

    async def records(self, tenant_id: str, slug: str | None = None) -> list[Record]:
        """What ran lately, the latest first: of one plugin, or of all that are installed."""
        names = await self._names(tenant_id)
        found: list[Record] = []
        for one in await self._platform.lifecycle.list(tenant_id):
            if slug is None or one.slug == slug:
                page = await self._platform.records.invocations(tenant_id, one.id, _LATEST)
                found += [
                    Record(
                        at=row.started_at,
                        plugin=row.plugin,
                        kind=row.kind,
                        name=row.name,
                        status=row.status,
                        duration_ms=row.duration_us / 1000,
                        on_behalf_of=names.get(row.caller_id or "", row.caller_id or ""),
                        message=row.error_message or "",
                    )
                    for row in page.items
                ]
        return sorted(found, key=lambda record: record.at, reverse=True)[: _LATEST.limit]

    # -- commands ----------------------------------------------------------------------------------------------------

    async def install(
        self, tenant_id: str, slug: str, version: str | None, grants: Iterable[str], caller: Caller
    ) -> None:
        """Install and activate it. The caller is on record as the one who gave the grants.

        Raises:
            PlatformError: It cannot be installed; nothing is left of it.
        """
        await self._platform.lifecycle.install(tenant_id, slug, version=version, grants=grants, actor=_actor(caller))

    async def activate(self, tenant_id: str, slug: str, caller: Caller) -> None:
        """Put it to work."""
        await self._platform.lifecycle.activate(tenant_id, slug, actor=_actor(caller))

    async def deactivate(self, tenant_id: str, slug: str, caller: Caller) -> None:
        """Take it from work; what it stored stays."""
        await self._platform.lifecycle.deactivate(tenant_id, slug, actor=_actor(caller))

    async def uninstall(self, tenant_id: str, slug: str, data: DataChoice, caller: Caller) -> None:
        """Remove it."""
        await self._platform.lifecycle.uninstall(tenant_id, slug, data=data, actor=_actor(caller))

    # -- how it is put together --------------------------------------------------------------------------------------

    async def _view(self, one: PlatformInstalled, names: dict[str, str]) -> Installed:
        stats = await self._platform.records.stats(one.tenant_id, one.id)
        return Installed(
            slug=one.slug,
            name=one.manifest.name,
            version=one.version,
            summary=one.manifest.summary,
            state=one.state.value,
            trouble="" if one.reason is None else one.reason[1] or one.reason[0],
            consented_by=await self._who_installed(one, names),
            installed_at=one.installed_at,
            permissions=_permissions(one.manifest, frozenset(one.grants)),
            calls=stats.calls,
            failures=stats.failures,
            mean_ms=stats.average_ms,
            last_run=stats.last_run_at,
        )

    async def _who_installed(self, one: PlatformInstalled, names: dict[str, str]) -> str:
        """From the audit trail, which has an entry exactly when there was an installation."""
        wanted = AuditFilter(target=one.slug, action="plugin.install")
        for entry in (await self._platform.trail.list(one.tenant_id, PageRequest(limit=1), wanted)).items:
            return names.get(entry.actor.partition(":")[2], entry.actor)
        return "unknown"

    async def _slugs(self, tenant_id: str) -> set[str]:
        return {one.slug for one in await self._platform.lifecycle.list(tenant_id)}

    async def _names(self, tenant_id: str) -> dict[str, str]:
        return {member.id: member.name for member in await self._platform.tenants.members(tenant_id)}


def _actor(caller: Caller) -> Actor:
    return Actor(id=caller.id, role=caller.role, subject=f"member:{caller.id}")


def _offer(entry: CatalogueEntry, is_installed: bool) -> Offer:
    return Offer(
        slug=entry.slug,
        name=entry.name,
        version=entry.version,
        summary=entry.summary,
        publisher=entry.publisher.name,
        category=entry.category,
        is_installed=is_installed,
    )


def _permissions(manifest: Manifest, grants: frozenset[str] | None) -> list[Permission]:
    wanted = asked(manifest)
    found: list[Permission] = []
    for name in (*wanted.required, *wanted.optional, *wanted.implied):
        words = describe(name)
        found.append(
            Permission(
                name=name,
                text=words.text,
                risk=words.risk,
                reason=manifest.permission_reasons.get(name, ""),
                is_optional=name in wanted.optional,
                is_own=name in wanted.implied,
                is_granted=grants is None or name in grants,
            )
        )
    return found


def _adds(manifest: Manifest) -> list[str]:
    """A line for each thing that it brings along."""
    lines = [f"Shows something {_PLACES.get(widget.slot, 'on a page')}" for widget in manifest.widgets]
    lines += [f"May change or refuse a {_noun(part.hook)} ({part.hook})" for part in manifest.filters]
    lines += [f"Hears of each {part.event}" for part in manifest.events]
    if manifest.functions:
        lines.append(f"Offers {_counted(len(manifest.functions), 'function')} to programs")
    if manifest.routes:
        lines.append(f"Answers at {_counted(len(manifest.routes), 'address', 'addresses')} of its own")
    if manifest.tables:
        lines.append(f"Keeps {_counted(len(manifest.tables), 'table')} of its own")
    return list(dict.fromkeys(lines))


def _noun(hook: str) -> str:
    return hook.partition(".")[0]


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"one {one}" if count == 1 else f"{count} {many or one + 's'}"
