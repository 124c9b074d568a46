"""What the demo sets up on the platform at its first start, and finds again at every other: tenants, members, tokens,
a publisher with two plugins, and one of them installed for the shop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from sqlalchemy import select

from corner_shop.extension.host import Extension
from corner_shop.extension.publisher import pack, signing_key
from corner_shop.shop.models import Employee
from corner_shop.shop.organisations import ORGANISATIONS
from jackfield import Platform
from jackfield.capabilities import asked
from jackfield.errors import JackfieldError, MissingError
from jackfield.http import PageRequest, Role
from jackfield.lifecycle import Actor
from jackfield.records import AuditFilter

__all__ = ["Access", "prepare"]

_PUBLISHER = "corner-shop-demo"
_PUBLISHED = ("echo", "loyalty-points")
_INSTALLED = {"corner-shop": "loyalty-points"}
_ROLES: dict[str, Role] = {"owner": "owner", "admin": "admin", "member": "member"}


@dataclass(frozen=True)
class Access:
    """Tokens for the platform's HTTP API."""

    operator: str
    publisher: str
    tenants: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def as_json(self, url: str) -> bytes:
        """The content of `demo.json`."""
        tenants = [{"id": tenant, "tokens": tokens} for tenant, tokens in self.tenants.items()]
        content = {
            "url": url, "operator_token": self.operator, "publisher_token": self.publisher, "tenants": tenants
        }  # fmt: skip
        return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


async def prepare(extension: Extension, data: Path, plugins: Path, remembered: Path) -> Access:
    """Make whatever is missing.

    Args:
        data: Where the publisher's key is kept.
        plugins: Folder with the sources of the plugins.
        remembered: `demo.json` of an earlier run; its tokens are kept as long as they are good.
    """
    platform = extension.platform
    members = {tenant: await _tenant(extension, tenant) for tenant in ORGANISATIONS}
    await _publish(platform, data / "publisher", plugins)
    for tenant, slug in _INSTALLED.items():
        await _install(platform, tenant, slug, members[tenant]["owner"])
    return await _access(platform, members, remembered)


async def _tenant(extension: Extension, tenant_id: str) -> dict[str, str]:
    """Make the tenant and its members known; role → id of a member who has it."""
    service = extension.platform.tenants
    try:
        await service.tenant(tenant_id)
    except MissingError:
        # Whoever tries things out here shall not meet a quota before they want to.
        await service.create_tenant(
            ORGANISATIONS[tenant_id].name, tenant_id=tenant_id, plan="enterprise", actor="corner-shop"
        )
    async with extension.read() as session:
        employees = list(await session.scalars(select(Employee).where(Employee.tenant_id == tenant_id)))
    known = {member.email: member.id for member in await service.members(tenant_id)}
    roles: dict[str, str] = {}
    for employee in employees:
        member_id = known.get(employee.email)
        if member_id is None:
            role = _ROLES[employee.role]
            member = await service.add_member(tenant_id, employee.name, employee.email, role, actor="corner-shop")
            member_id = member.id
        roles.setdefault(employee.role, member_id)
        if employee.member_id != member_id:
            async with extension.write() as session:
                row = await session.get_one(Employee, employee.id)
                row.member_id = member_id
    return roles


async def _publish(platform: Platform, home: Path, plugins: Path) -> None:
    """Publish what the registry does not have yet, signed by a key of our own."""
    missing: list[str] = []
    for slug in _PUBLISHED:
        try:
            await platform.registry.release(slug)
        except MissingError:
            missing.append(slug)
    await platform.registry.ensure_publisher(_PUBLISHER, "Corner Shop demo")
    if not missing:
        return
    key = signing_key(home)
    if key.key_id not in {known.key_id for known in await platform.registry.keys(_PUBLISHER)}:
        await platform.registry.add_key(_PUBLISHER, key.public, key.proof(_PUBLISHER), "demo", actor="corner-shop")
    with TemporaryDirectory() as folder:
        packages = [(plugins / slug, Path(folder) / f"{slug}.jfp") for slug in missing]
        async with asyncio.TaskGroup() as group:
            for source, package in packages:
                group.create_task(pack(source, package, home))
        for _, package in packages:
            await platform.registry.publish(_chunks(package), _PUBLISHER)


async def _install(platform: Platform, tenant_id: str, slug: str, owner: str) -> None:
    """Install a plugin as its owner would, unless they have had it: what was uninstalled stays so."""
    audit = await platform.trail.list(tenant_id, PageRequest(limit=1), AuditFilter(target=slug))
    if audit.items:
        return
    plan = await platform.lifecycle.plan_install(tenant_id, slug)
    wanted = asked(plan.release.manifest)
    await platform.lifecycle.install(
        tenant_id,
        slug,
        version=plan.release.version,
        grants=wanted.required,
        actor=Actor(id=owner, role="owner", subject=f"member:{owner}"),
    )


async def _access(platform: Platform, members: dict[str, dict[str, str]], remembered: Path) -> Access:
    old = _remembered(remembered)
    tenants: dict[str, dict[str, str]] = {}
    for tenant, by_role in members.items():
        tenants[tenant] = {}
        for role in _ROLES.values():
            token = old.tenants.get(tenant, {}).get(role, "")
            if not await _is_good(platform, token, role, tenant):
                issued = await platform.tenants.issue_token(
                    role, tenant_id=tenant, member_id=by_role[role], name="demo", actor="corner-shop"
                )
                token = issued.plaintext
            tenants[tenant][role] = token
    operator, publisher = old.operator, old.publisher
    if not await _is_good(platform, operator, "operator", None):
        operator = (await platform.tenants.issue_token("operator", name="demo", actor="corner-shop")).plaintext
    if not await _is_good(platform, publisher, "publisher", None):
        issued = await platform.tenants.issue_token(
            "publisher", publisher_id=_PUBLISHER, name="demo", actor="corner-shop"
        )  # fmt: skip
        publisher = issued.plaintext
    return Access(operator, publisher, tenants)


async def _is_good(platform: Platform, token: str, role: Role, tenant_id: str | None) -> bool:
    try:
        caller = await platform.tenants.authenticate(token)
    except JackfieldError:
        return False
    return caller.role == role and caller.tenant_id == tenant_id


class _Tenant(msgspec.Struct):
    id: str
    tokens: dict[str, str]


class _File(msgspec.Struct):
    operator_token: str = ""
    publisher_token: str = ""
    tenants: list[_Tenant] = []


def _remembered(path: Path) -> Access:
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError):
        return Access("", "")
    return Access(file.operator_token, file.publisher_token, {tenant.id: tenant.tokens for tenant in file.tenants})


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    yield await asyncio.to_thread(path.read_bytes)
