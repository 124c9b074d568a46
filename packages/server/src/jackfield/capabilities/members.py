"""`members`: the tenant and its members, as far as a plugin may know them.

What it is told of the tenant and of whoever it runs for takes no permission: the tenant has installed it, and the
member called it. Addresses, and everybody else, take `members:read`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta
from sqlalchemy import select

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.operations import Arguments, Capability, Id, Limit, answer, operation
from jackfield.db import Database
from jackfield.tenants import Member, Tenant

__all__ = ["Members"]

_READ = "members:read"


class _None(Arguments, frozen=True):
    pass


class _One(Arguments, frozen=True):
    id: Id


class _List(Arguments, frozen=True):
    role: Literal["owner", "admin", "member"] | None = None
    limit: Limit = 100
    after: Annotated[str, Meta(max_length=64)] | None = None


class Members:
    """The capability."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.operations: Capability = {
            "tenant": operation(_None, None, self._tenant),
            "me": operation(_None, None, self._me),
            "my_address": operation(_None, _READ, self._my_address),
            "get": operation(_One, _READ, self._get),
            "list": operation(_List, _READ, self._list),
        }

    async def _tenant(self, context: CapabilityContext, arguments: _None) -> bytes:
        async with self._database.read(None) as session:
            tenant = await session.get(Tenant, context.tenant_id)
        if tenant is None:
            # A host that keeps its tenants to itself.
            told = {"name": context.tenant_id, "plan": "", "timezone": "UTC", "locale": "en"}
        else:
            told = {"name": tenant.name, "plan": tenant.plan, "timezone": tenant.timezone, "locale": tenant.locale}
        return answer(told)

    async def _me(self, context: CapabilityContext, arguments: _None) -> bytes:
        member = await self._acting(context)
        return answer({"name": "" if member is None else member.name})

    async def _my_address(self, context: CapabilityContext, arguments: _None) -> bytes:
        member = await self._acting(context)
        return answer({"email": "" if member is None else member.email})

    async def _get(self, context: CapabilityContext, arguments: _One) -> bytes:
        member = await self._one(context.tenant_id, arguments.id)
        return answer(None if member is None else _told(member))

    async def _list(self, context: CapabilityContext, arguments: _List) -> bytes:
        query = select(Member).where(Member.tenant_id == context.tenant_id).order_by(Member.id).limit(arguments.limit)
        if arguments.role is not None:
            query = query.where(Member.role == arguments.role)
        if arguments.after is not None:
            query = query.where(Member.id > arguments.after)
        async with self._database.read(context.tenant_id) as session:
            return answer([_told(member) for member in await session.scalars(query)])

    async def _acting(self, context: CapabilityContext) -> Member | None:
        """The member for whom the call runs; None for a program, and when nobody acts."""
        return None if context.caller is None else await self._one(context.tenant_id, context.caller.id)

    async def _one(self, tenant_id: str, member_id: str) -> Member | None:
        query = select(Member).where(Member.tenant_id == tenant_id, Member.id == member_id)
        async with self._database.read(tenant_id) as session:
            return await session.scalar(query)


def _told(member: Member) -> dict[str, Any]:
    return {
        "id": member.id, "name": member.name, "role": member.role, "email": member.email,
        "locale": member.locale or "",
    }  # fmt: skip
